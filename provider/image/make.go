package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/renameio/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// Make ensures that an image of this name is in the store. If there is none, it calls write
// to create one in a file, in any format that [Store.Import] accepts. Of several concurrent
// callers for the same image, one creates it and the others wait. write may use the
// directory of the file for scratch files; Make removes it afterwards.
func (s *Store) Make(ctx context.Context, name string, write func(ctx context.Context, file string) error, progress transfer.Progress) (Image, error) {
	r, err := importName(name)
	if err != nil {
		return Image{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	key := sha256.Sum256([]byte(r.String()))
	unlock, err := s.lock(ctx, "make-"+hex.EncodeToString(key[:]), "makes "+r.String())
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	img, _, err := s.lookUp(ctx, r, platform.Host())
	if f, ok := s.loadComplete(ctx, r, img); err == nil && ok {
		return f.Image, nil
	}
	dir, err := os.MkdirTemp(s.tmpDir(), "make-")
	if err != nil {
		return Image{}, s.explain(err)
	}
	file := filepath.Join(dir, "image")
	if err = write(ctx, file); err == nil {
		img, err = s.importAs(ctx, r.String(), file, progress.Serial())
	}
	return img, s.explain(errors.Join(err, os.RemoveAll(dir)))
}

// LayoutTag is the tag of the image in a layout of [Store.Layout].
const LayoutTag = "image"

// Layout creates an OCI layout of a stored image in dir, for programs that read one. It
// links to the blobs of the store, which must stay while the layout is used: see
// [Store.Make].
func (s *Store) Layout(ctx context.Context, img Image, dir string) error {
	h, err := v1.NewHash(img.Digest)
	if err != nil {
		return fmt.Errorf("image %s: %w", img.Reference, err)
	}
	f, err := s.loadStored(ctx, img.Reference, h, img.Platform)
	if err != nil {
		return err
	}
	d := f.desc
	d.Annotations = map[string]string{ocispec.AnnotationRefName: LayoutTag}
	d.Platform = descriptorOf(img.Platform)
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		return err
	}
	layout, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s.explain(err)
	}
	return s.explain(errors.Join(
		renameio.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o600),
		renameio.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), layout, 0o600),
		os.Symlink(filepath.Join(s.dir, ocispec.ImageBlobsDir), filepath.Join(dir, ocispec.ImageBlobsDir)),
	))
}
