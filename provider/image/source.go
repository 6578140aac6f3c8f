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
	c, err := choose(reference, cands, want)
	if err != nil {
		return sourceImage{}, err
	}
	if !c.platform.Complete() {
		assumed := c.platform.Or(platform.Host())
		s.log.Warn("the image does not say for which platform it is: assuming that it is for this host's",
			"image", reference, "platform", assumed)
		c.desc = c.as(assumed)
	}
	return s.load(ctx, src, reference, c.desc, want)
}

// load reads an image. It checks the platform in the config: the one in an index may be
// wrong, and only counts if the config has none.
func (s *Store) load(ctx context.Context, src source, reference string, d v1.Descriptor, want platform.Platform) (sourceImage, error) {
	m, c, err := s.documents(ctx, src, d)
	if err != nil {
		return sourceImage{}, err
	}
	img := newImage(reference, d.Digest, m, c)
	img.Platform = img.Platform.Or(describedPlatform(d))
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
	if what := artifact(&m); what != "" {
		return nil, nil, &NotImageError{Reference: src.String(), What: what}
	}
	var c v1.ConfigFile
	if err := s.document(ctx, src, m.Config, &c); err != nil {
		return nil, nil, err
	}
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return nil, nil, &NotImageError{
			Reference: src.String(),
			What:      fmt.Sprintf("not a valid image (it has %d layers, but %d in its config)", len(m.Layers), len(c.RootFS.DiffIDs)),
		}
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
	return buf.Bytes(), explainMissing(src, d, err)
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
