package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// kind is the sort of place that a reference points to.
type kind uint8

const (
	inRegistry      kind = iota // "debian:12", "ghcr.io/owner/name@sha256:…"
	inStore                     // "local/…": only ever imported
	inLayout                    // "oci:DIR[:tag]"
	inOCIArchive                // "oci-archive:FILE[:tag]"
	inDockerArchive             // "docker-archive:FILE[:reference]"
)

// schemes are the words before the first colon that name something on this host.
var schemes = map[string]kind{
	"oci":            inLayout,
	"oci-archive":    inOCIArchive,
	"docker-archive": inDockerArchive,
}

// localPrefix marks names that are never looked for in a registry.
const localPrefix = "local/"

// reference is a parsed image reference.
type reference struct {
	kind kind
	name name.Reference // of inRegistry and inStore
	pin  string         // a digest: what name is taken to mean; may be empty
	path string         // absolute; of the others
	tag  string         // of the others; may be empty
}

// parseReference reads what people write. A path is looked up to tell a colon
// in it from the one before the tag.
func parseReference(s string) (reference, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	if k, ok := schemes[scheme]; ok {
		path, tag := splitPath(rest)
		if path == "" {
			return reference{}, &ReferenceError{Reference: s, Err: fmt.Errorf("no path behind %q", scheme+":")}
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return reference{}, &ReferenceError{Reference: s, Err: err}
		}
		return reference{kind: k, path: abs, tag: tag}, nil
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
		return reference{}, &ReferenceError{Reference: s, Err: errors.New("a path alone does not say what it holds")}
	}
	n, err := name.ParseReference(s)
	if err != nil {
		return reference{}, &ReferenceError{Reference: s, Err: err}
	}
	if strings.HasPrefix(s, localPrefix) {
		return reference{kind: inStore, name: n}, nil
	}
	return reference{kind: inRegistry, name: n}, nil
}

// Absolute is s with the path of a file or directory made absolute, so that it means the same
// from everywhere. Names stay as they are.
func Absolute(s string) (string, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	if _, local := schemes[scheme]; !local || rest == "" {
		return s, nil
	}
	path, err := filepath.Abs(rest)
	return scheme + ":" + path, err
}

// splitPath cuts off a tag: at the last colon that leaves something that exists, and
// at the first one when nothing does.
func splitPath(s string) (path, tag string) {
	for i := len(s); i > 0; i = strings.LastIndexByte(s[:i], ':') {
		if _, err := os.Stat(s[:i]); err == nil {
			return s[:i], strings.TrimPrefix(s[i:], ":")
		}
	}
	path, tag, _ = strings.Cut(s, ":")
	return path, tag
}

// fixed tells whether r can only ever mean one thing.
func (r reference) fixed() bool {
	_, ok := r.name.(name.Digest)
	return ok
}

// String is the reference in full, the key under which the store knows the image.
func (r reference) String() string {
	for scheme, k := range schemes {
		if k == r.kind && r.tag == "" {
			return scheme + ":" + r.path
		}
		if k == r.kind {
			return scheme + ":" + r.path + ":" + r.tag
		}
	}
	full := strings.TrimPrefix(r.name.Name(), name.DefaultRegistry+"/")
	switch {
	case full == r.name.Name():
		return full
	case r.kind == inStore:
		return full
	}
	return "docker.io/" + full
}

// FileOf is the file of this host that says what a reference means: an archive, or the
// index of a layout. It is empty for images that are in no file of their own.
func FileOf(ref string) string {
	r, err := parseReference(ref)
	switch {
	case err != nil:
		return ""
	case r.kind == inLayout:
		return filepath.Join(r.path, ocispec.ImageIndexFile)
	default:
		return r.path
	}
}
