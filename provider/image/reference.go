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

// kind is the kind of place that a reference points to.
type kind uint8

const (
	inRegistry      kind = iota // "debian:12", "ghcr.io/owner/name@sha256:…"
	inStore                     // "local/…": imported images only
	inLayout                    // "oci:DIR[:tag]"
	inOCIArchive                // "oci-archive:FILE[:tag]"
	inDockerArchive             // "docker-archive:FILE[:reference]"
)

// schemes are the prefixes of references to files and directories of this host.
var schemes = map[string]kind{
	"oci":            inLayout,
	"oci-archive":    inOCIArchive,
	"docker-archive": inDockerArchive,
}

// localPrefix marks names that are never looked up in a registry.
const localPrefix = "local/"

// reference is a parsed image reference.
type reference struct {
	kind kind
	name name.Reference // of inRegistry and inStore
	pin  string         // a digest to use instead of name's tag; may be empty
	path string         // of the other kinds; absolute
	tag  string         // of the other kinds; may be empty
}

// parseReference parses a reference. It looks up paths in the file system to distinguish a
// colon in a path from the colon before the tag.
func parseReference(s string) (reference, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	if k, ok := schemes[scheme]; ok {
		path, tag := splitPath(rest)
		if path == "" {
			return reference{}, &ReferenceError{Reference: s, Err: fmt.Errorf("missing path after %q", scheme+":")}
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return reference{}, &ReferenceError{Reference: s, Err: err}
		}
		return reference{kind: k, path: abs, tag: tag}, nil
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
		return reference{}, &ReferenceError{Reference: s, Err: errors.New("a path needs a prefix, oci: or docker-archive: for example")}
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

// Absolute returns s with the path of a file or directory made absolute, so that it does
// not depend on the working directory. Names stay as they are.
func Absolute(s string) (string, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	if _, local := schemes[scheme]; !local || rest == "" {
		return s, nil
	}
	path, err := filepath.Abs(rest)
	return scheme + ":" + path, err
}

// splitPath splits a path from its tag: at the last colon that leaves a path which exists,
// or at the first colon if there is none.
func splitPath(s string) (path, tag string) {
	for i := len(s); i > 0; i = strings.LastIndexByte(s[:i], ':') {
		if _, err := os.Stat(s[:i]); err == nil {
			return s[:i], strings.TrimPrefix(s[i:], ":")
		}
	}
	path, tag, _ = strings.Cut(s, ":")
	return path, tag
}

// fixed reports whether r has a digest and so always refers to the same image.
func (r reference) fixed() bool {
	_, ok := r.name.(name.Digest)
	return ok
}

// String returns the full reference, which is the image's key in the store.
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

// FileOf returns the file of this host that determines what a reference refers to: an
// archive, or the index of a layout. It returns "" for references to registries and to the
// store.
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
