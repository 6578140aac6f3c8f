package image

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/space"
)

// ReferenceError reports text that is no image reference.
type ReferenceError struct {
	Reference string
	Err       error
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("image reference %q: %v", e.Reference, e.Err)
}

// Unwrap gives the cause.
func (e *ReferenceError) Unwrap() error { return e.Err }

// Remedy lists what may be written.
func (e *ReferenceError) Remedy() string {
	return "write NAME[:TAG] or NAME@DIGEST for a registry, oci:DIR[:TAG] for a layout, " +
		"docker-archive:FILE or oci-archive:FILE for a tarball"
}

// RegistryError reports a registry that did not give what it was asked for.
type RegistryError struct {
	Registry  string
	Reference string
	Status    int // of HTTP; 0 when there was no answer
	Err       error
}

func (e *RegistryError) Error() string {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("image %s: registry %s refuses access (%d): %v", e.Reference, e.Registry, e.Status, e.Err)
	case http.StatusNotFound:
		return fmt.Sprintf("image %s: registry %s does not have it: %v", e.Reference, e.Registry, e.Err)
	case 0:
		return fmt.Sprintf("image %s: registry %s cannot be reached: %v", e.Reference, e.Registry, e.Err)
	}
	return fmt.Sprintf("image %s: registry %s failed (%d): %v", e.Reference, e.Registry, e.Status, e.Err)
}

// Unwrap gives the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

// Remedy depends on what the registry said.
func (e *RegistryError) Remedy() string {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("log in with \"docker login %s\"; if the image is public, check its name", e.Registry)
	case http.StatusNotFound:
		return "check the name and the tag of the image"
	case http.StatusTooManyRequests:
		return fmt.Sprintf("wait a little, or log in with \"docker login %s\" for a higher limit", e.Registry)
	}
	return fmt.Sprintf("check that %s can be reached from here, then retry: what was pulled so far is kept", e.Registry)
}

// NotFoundError reports an image that is not where it was looked for.
type NotFoundError struct {
	Reference string
	Where     string
	Hint      string // the remedy
	Err       error  // may be nil
}

func (e *NotFoundError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("image %s is not in %s: %v", e.Reference, e.Where, e.Err)
	}
	return fmt.Sprintf("image %s is not in %s", e.Reference, e.Where)
}

// Unwrap gives the cause.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Remedy says where to get it.
func (e *NotFoundError) Remedy() string { return e.Hint }

// AmbiguousError reports a reference that could mean several images.
type AmbiguousError struct {
	Reference string
	Choices   []string // references that mean one
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s holds %d images", e.Reference, len(e.Choices))
}

// Remedy lists the choices.
func (e *AmbiguousError) Remedy() string {
	return "name one of them: " + strings.Join(e.Choices, ", ")
}

// PlatformError reports an image that is not made for the wanted platform.
type PlatformError struct {
	Reference string
	Want      platform.Platform
	Have      []platform.Platform
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("image %s is for %s, not for %s", e.Reference, joinPlatforms(e.Have), e.Want)
}

// Remedy says what a machine on this host can run.
func (e *PlatformError) Remedy() string {
	remedy := fmt.Sprintf("use an image that is built for %s", e.Want)
	if len(e.Have) > 0 {
		remedy += fmt.Sprintf(", or give the machine a platform that this one has, such as %s", e.Have[0])
	}
	return remedy
}

func joinPlatforms(ps []platform.Platform) string {
	if len(ps) == 0 {
		return "no platform"
	}
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// explain gives errors that have a common cause its remedy.
func (s *Store) explain(err error) error { return space.Explain(err, s.dir) }
