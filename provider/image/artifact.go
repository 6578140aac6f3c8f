package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-vm/stead/provider/transfer"
)

// NotImageError reports something that is stored like a container image, but is none.
type NotImageError struct {
	Reference string
	What      string // "a Helm chart"
}

func (e *NotImageError) Error() string {
	return fmt.Sprintf("%s is %s: no machine can be made of it", e.Reference, e.What)
}

// Remedy says what to name instead.
func (e *NotImageError) Remedy() string {
	return "name a container image with the files of a Linux system, such as debian:12"
}

// artifacts are what registries keep beside images, by the type of the manifest, of its config or
// of its first layer: those in the projects' documentation, or their common beginning.
var artifacts = []struct{ prefix, what string }{
	{"application/vnd.cncf.helm.", "a Helm chart"},
	{"application/vnd.cncf.flux.", "a Flux source"},
	{"application/vnd.in-toto", "an attestation"},
	{"application/vnd.dev.cosign.artifact.sig.", "a signature"},
	{"application/vnd.dev.cosign.simplesigning.", "a signature"},
	{"application/vnd.dev.sigstore.bundle", "a signature"},
	{"application/vnd.cncf.notary.signature", "a signature"},
	{"application/spdx+json", "a list of software (SPDX)"},
	{"application/vnd.cyclonedx", "a list of software (CycloneDX)"},
	{"application/vnd.wasm.", "a WebAssembly module"},
	{"application/wasm", "a WebAssembly module"},
	{"application/vnd.docker.plugin.", "a Docker plugin"},
	{"application/vnd.docker.ai.", "an AI model"},
	{"application/vnd.cncf.model.", "an AI model"},
	{"application/vnd.ollama.", "an AI model"},
	{"application/vnd.sylabs.sif.", "a Singularity image"},
	{"application/vnd.devcontainers", "a Dev Container feature"},
	{"application/vnd.apple.container.machine.", "a configuration of Apple's container machines"},
}

// artifact returns what a manifest describes, or "" if it is an image. Images without the types
// of config and layers are taken for images.
func artifact(m *v1.Manifest) string {
	kinds := []string{m.ArtifactType, string(m.Config.MediaType)}
	other := ""
	if t := m.Config.MediaType; t != "" && !t.IsConfig() {
		other = "an artifact of the type " + cmp.Or(m.ArtifactType, string(t))
	}
	for _, l := range m.Layers {
		kinds = append(kinds, string(l.MediaType))
		if l.MediaType != "" && !isLayer(l.MediaType) {
			other = cmp.Or(other, fmt.Sprintf("an artifact with content of the type %s", l.MediaType))
		}
	}
	for _, k := range kinds {
		for _, a := range artifacts {
			if strings.HasPrefix(k, a.prefix) {
				return a.what
			}
		}
	}
	if other == "" && len(m.Layers) == 0 {
		return "an image without layers"
	}
	return other
}

// isLayer reports whether t is a layer of files. Encrypted layers are not: nothing here has keys.
func isLayer(t types.MediaType) bool {
	return t.IsLayer() || t == "application/vnd.docker.image.rootfs.diff.tar.zstd" ||
		t == "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
}

// notManifest returns what a registry has under a reference that is neither image nor index.
func notManifest(t types.MediaType) string {
	if t.IsSchema1() {
		return "an image in Docker's first format, which current tools have dropped"
	}
	return fmt.Sprintf("a document of the type %s", t)
}

// MissingBlobError reports an image without one of its blobs: a layer, a config or a manifest.
type MissingBlobError struct {
	Source string // the reference of the image
	Blob   v1.Descriptor
	Err    error
}

// foreign reports whether the layer is one that registries are not expected to have.
func (e *MissingBlobError) foreign() bool { return !e.Blob.MediaType.IsDistributable() }

func (e *MissingBlobError) Error() string {
	if e.foreign() {
		return fmt.Sprintf("%s has a foreign layer, %s, which is not stored with it: no machine can be made of it: %v",
			e.Source, e.Blob.Digest, e.Err)
	}
	return fmt.Sprintf("%s is incomplete: its blob %s is missing: %v", e.Source, e.Blob.Digest, e.Err)
}

// Unwrap returns the cause.
func (e *MissingBlobError) Unwrap() error { return e.Err }

// Remedy says where a complete image comes from.
func (e *MissingBlobError) Remedy() string {
	if e.foreign() {
		return "use an image that has all of its layers"
	}
	return "build the image again and push or save it again"
}

// explainMissing returns a *[MissingBlobError] if err says that a blob of an image does not exist.
func explainMissing(src fmt.Stringer, d v1.Descriptor, err error) error {
	var answer *RegistryError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return &MissingBlobError{Source: src.String(), Blob: d, Err: answer.Err}
	}
	var blob *transfer.BlobError
	if errors.As(err, &blob) && errors.Is(blob.Err, fs.ErrNotExist) && blob.Hint == "" {
		return &MissingBlobError{Source: src.String(), Blob: d, Err: blob.Err}
	}
	return err
}
