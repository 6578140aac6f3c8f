package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// maxDocument bounds manifests, indexes and configs, which are read into memory.
// Registries accept manifests of up to 4 MiB (OCI distribution specification).
const maxDocument = 4 << 20

// maxDepth bounds indexes within indexes.
const maxDepth = 4

// source is a place with images in the terms of the OCI image specification: content
// that is addressed by descriptors. It does not verify the content.
type source interface {
	// roots returns what the reference refers to: images, or indexes of images. A failure
	// that a retry may resolve is a [transientError], here and in open.
	roots(ctx context.Context) ([]v1.Descriptor, error)
	// open opens what d describes.
	Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// String returns the name of the place for messages.
	String() string
	Close() error
}

// sourceImage is one image in a source whose manifest and config were read and verified.
type sourceImage struct {
	Image
	src      source
	desc     v1.Descriptor
	manifest *v1.Manifest
	config   *v1.ConfigFile
}

// openSource opens the place that r points to.
func (s *Store) openSource(ctx context.Context, r reference) (source, error) {
	switch r.kind {
	case inLayout, inOCIArchive:
		return s.openLayout(ctx, r)
	case inDockerArchive:
		return s.openDockerArchive(ctx, r)
	case inStore:
		return nil, &NotFoundError{
			Reference: r.String(), Where: "the store",
			Hint: fmt.Sprintf("run \"stead image import %s FILE\" to import it", r),
		}
	case inRegistry:
		return s.openRegistry(r)
	}
	return nil, fmt.Errorf("image %s: unknown kind of reference", r)
}

// find returns the image in src that runs on want.
func (s *Store) find(ctx context.Context, src source, reference string, want platform.Platform) (sourceImage, error) {
	cands, err := s.candidatesOf(ctx, src)
	if err != nil {
		return sourceImage{}, err
	}
	var have []platform.Platform
	for _, c := range cands {
		if c.platform.Satisfies(want) {
			return s.load(ctx, src, reference, c.desc, want)
		}
		have = append(have, c.platform)
	}
	return sourceImage{}, &PlatformError{Reference: reference, Want: want, Have: have}
}

// candidate is an image and its platform.
type candidate struct {
	desc     v1.Descriptor
	platform platform.Platform
}

func (s *Store) candidatesOf(ctx context.Context, src source) ([]candidate, error) {
	var roots []v1.Descriptor
	err := s.retry.Do(ctx, func() (err error) {
		roots, err = src.roots(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.candidates(ctx, src, roots, maxDepth)
}

// candidates walks indexes down to the images.
func (s *Store) candidates(ctx context.Context, src source, descs []v1.Descriptor, depth int) ([]candidate, error) {
	if depth == 0 {
		return nil, fmt.Errorf("%s: indexes are nested too deeply", src)
	}
	var all []candidate
	for _, d := range descs {
		switch {
		case d.MediaType.IsIndex():
			var index v1.IndexManifest
			if err := s.document(ctx, src, d, &index); err != nil {
				return nil, err
			}
			below, err := s.candidates(ctx, src, index.Manifests, depth-1)
			if err != nil {
				return nil, err
			}
			all = append(all, below...)
		case d.MediaType.IsImage():
			p, err := s.platformOf(ctx, src, d)
			if err != nil {
				return nil, err
			}
			if p.OS != "unknown" { // an attestation, which buildkit stores like an image
				all = append(all, candidate{d, p})
			}
		}
	}
	return all, nil
}

// platformOf returns the platform of the descriptor, or else of the image's config.
func (s *Store) platformOf(ctx context.Context, src source, d v1.Descriptor) (platform.Platform, error) {
	if d.Platform != nil {
		return platform.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}, nil
	}
	_, c, err := s.documents(ctx, src, d)
	if err != nil {
		return platform.Platform{}, err
	}
	return platform.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}, nil
}

// load reads an image. It checks the platform in the config: the one in an index may be
// wrong.
func (s *Store) load(ctx context.Context, src source, reference string, d v1.Descriptor, want platform.Platform) (sourceImage, error) {
	m, c, err := s.documents(ctx, src, d)
	if err != nil {
		return sourceImage{}, err
	}
	img := newImage(reference, d.Digest, m, c)
	if !img.Platform.Satisfies(want) {
		return sourceImage{}, &PlatformError{Reference: reference, Want: want, Have: []platform.Platform{img.Platform}}
	}
	return sourceImage{Image: img, src: src, desc: d, manifest: m, config: c}, nil
}

// documents reads an image's manifest and config.
func (s *Store) documents(ctx context.Context, src source, d v1.Descriptor) (*v1.Manifest, *v1.ConfigFile, error) {
	var m v1.Manifest
	if err := s.document(ctx, src, d, &m); err != nil {
		return nil, nil, err
	}
	var c v1.ConfigFile
	if err := s.document(ctx, src, m.Config, &c); err != nil {
		return nil, nil, err
	}
	if len(m.Layers) == 0 || len(m.Layers) != len(c.RootFS.DiffIDs) {
		return nil, nil, &transfer.BlobError{Digest: d.Digest.String(), Source: src.String(), Err: fmt.Errorf(
			"not the manifest of a container image: %d layers, but %d in its config", len(m.Layers), len(c.RootFS.DiffIDs))}
	}
	for _, l := range append(m.Layers, m.Config) {
		if l.Size < 0 || l.Digest.Hex == "" {
			return nil, nil, &transfer.BlobError{
				Digest: d.Digest.String(), Source: src.String(),
				Err: errors.New("a blob in its manifest has no digest or no size"),
			}
		}
	}
	return &m, &c, nil
}

// document reads and verifies a small JSON blob.
func (s *Store) document(ctx context.Context, src source, d v1.Descriptor, v any) error {
	raw, err := s.readAll(ctx, src, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return &transfer.BlobError{Digest: d.Digest.String(), Source: src.String(), Err: err}
	}
	return nil
}

// readAll reads a small blob into memory and verifies it.
func (s *Store) readAll(ctx context.Context, src source, d v1.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, &transfer.BlobError{
			Digest: d.Digest.String(), Source: src.String(),
			Err: tooLarge(d.Size),
		}
	}
	var buf bytes.Buffer
	err := s.retry.Do(ctx, func() error {
		buf.Reset()
		rc, err := src.Open(ctx, d)
		if err != nil {
			return err
		}
		defer rc.Close() // only read from
		return copyVerified(&buf, rc, d, src)
	})
	return buf.Bytes(), err
}

func tooLarge(n int64) error {
	return fmt.Errorf("%d bytes is too large for a manifest or config", n)
}

// copyVerified copies r to w. It fails unless the content has the size and digest of d.
func copyVerified(w io.Writer, r io.Reader, d v1.Descriptor, src source) error {
	h, err := v1.Hasher(d.Digest.Algorithm)
	var n int64
	if err == nil {
		// One extra byte reveals a blob that is too long.
		n, err = io.Copy(io.MultiWriter(w, h), io.LimitReader(r, d.Size+1))
	}
	if err != nil {
		return &transfer.BlobError{Digest: d.Digest.String(), Source: src.String(), Err: err}
	}
	return transfer.Verify(d, n, h, src)
}
