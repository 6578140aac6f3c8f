package image

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/space"
)

// ReferenceError reports text that is not an image reference.
type ReferenceError struct {
	Reference string
	Err       error
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("invalid image reference %q: %v", e.Reference, e.Err)
}

// Unwrap returns the cause.
func (e *ReferenceError) Unwrap() error { return e.Err }

// Remedy lists the forms of a reference.
func (e *ReferenceError) Remedy() string {
	return "write NAME[:TAG] or NAME@DIGEST for a registry, oci:DIR[:TAG] for a layout, " +
		"docker-archive:FILE or oci-archive:FILE for a tarball"
}

// RegistryError reports a failed request to a registry.
type RegistryError struct {
	Registry  string
	Reference string
	Status    int // of HTTP; 0 if there was no answer
	Err       error

	Credentials *CredentialError // why none were sent to a registry that wants some; may be nil
}

// denied reports whether the registry wants other credentials, or any.
func (e *RegistryError) denied() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

func (e *RegistryError) Error() string {
	if e.Credentials != nil {
		return fmt.Sprintf("image %s: registry %s denied access without credentials (%d): %v", e.Reference, e.Registry, e.Status, e.Credentials)
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("image %s: registry %s denied access (%d): %v", e.Reference, e.Registry, e.Status, e.Err)
	case http.StatusNotFound:
		return fmt.Sprintf("image %s not found in registry %s: %v", e.Reference, e.Registry, e.Err)
	case 0:
		return fmt.Sprintf("image %s: cannot reach registry %s: %v", e.Reference, e.Registry, e.Err)
	}
	return fmt.Sprintf("image %s: registry %s failed (%d): %v", e.Reference, e.Registry, e.Status, e.Err)
}

// Unwrap returns the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

// Remedy depends on the registry's answer.
func (e *RegistryError) Remedy() string {
	if e.Credentials != nil {
		return e.Credentials.Remedy()
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("log in with \"docker login %s\"; if the image is public, check its name", e.Registry)
	case http.StatusNotFound:
		return "check the name and the tag of the image"
	case http.StatusTooManyRequests:
		return fmt.Sprintf("wait a moment, or log in with \"docker login %s\" for a higher rate limit", e.Registry)
	}
	return fmt.Sprintf("check that this host can reach %s, then retry; the pull resumes where it stopped", e.Registry)
}

// NotFoundError reports an image that does not exist in the place where it was looked up.
type NotFoundError struct {
	Reference string
	Where     string
	Hint      string // the remedy
	Err       error  // may be nil
}

func (e *NotFoundError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("image %s not found in %s: %v", e.Reference, e.Where, e.Err)
	}
	return fmt.Sprintf("image %s not found in %s", e.Reference, e.Where)
}

// Unwrap returns the cause.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Remedy returns the hint.
func (e *NotFoundError) Remedy() string { return e.Hint }

// AmbiguousError reports a reference that matches several images.
type AmbiguousError struct {
	Reference string
	Choices   []string // references that match one image each
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("image reference %s is ambiguous: it matches %d images", e.Reference, len(e.Choices))
}

// Remedy lists the choices.
func (e *AmbiguousError) Remedy() string {
	return "use one of these references: " + strings.Join(e.Choices, ", ")
}

// PlatformError reports an image that does not support the requested platform.
type PlatformError struct {
	Reference string
	Want      platform.Platform
	Have      []platform.Platform // none if it holds several images that do not say
}

func (e *PlatformError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("image %s: none of its images says for which platform it is, so none can be chosen for %s", e.Reference, e.Want)
	}
	return fmt.Sprintf("image %s is for %s, not for %s", e.Reference, joinPlatforms(e.Have), e.Want)
}

// Remedy says to use another image or another platform.
func (e *PlatformError) Remedy() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("use an image that is built for %s, or name one of these by its tag or digest", e.Want)
	}
	return fmt.Sprintf("use an image that is built for %s, or set the machine's platform to one that this image supports, such as %s", e.Want, e.Have[0])
}

func joinPlatforms(ps []platform.Platform) string {
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// explain gives errors that have a common cause its remedy.
func (s *Store) explain(err error) error { return space.Explain(err, s.dir) }
