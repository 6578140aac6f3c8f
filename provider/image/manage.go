package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entry is an image in the store.
type Entry struct {
	Image
	Imported bool   // it came from a file; no registry is asked about it
	Disks    int64  // bytes that its cached disks really occupy
	Problem  string // why it cannot be used; empty when it can
}

// List tells what is in the store, ordered by name and platform.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(index.Manifests))
	for _, d := range index.Manifests {
		e, err := s.entry(ctx, d)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return strings.Compare(a.Reference+" "+a.Platform.String(), b.Reference+" "+b.Platform.String())
	})
	return entries, nil
}

func (s *Store) entry(ctx context.Context, d v1.Descriptor) (Entry, error) {
	p := HostPlatform()
	if d.Platform != nil {
		p = Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}
	}
	name := d.Annotations[ocispec.AnnotationRefName]
	e := Entry{
		Image:    Image{Reference: name, Digest: d.Digest.String(), Platform: p},
		Imported: d.Annotations[importedAnnotation] != "",
	}
	if f, err := s.load(ctx, storeSource{s}, name, d, p); err != nil {
		e.Problem = err.Error()
	} else {
		e.Image = f.Image
	}
	disks, err := s.disksOf(d.Digest)
	for _, path := range disks {
		info, err := os.Stat(path)
		if err != nil {
			return e, err
		}
		e.Disks += occupied(info)
	}
	return e, err
}

func (s *Store) disksOf(h v1.Hash) ([]string, error) {
	return filepath.Glob(filepath.Join(s.disksDir(), h.Hex+"-*"))
}

// Remove forgets the image of a name, for every platform, or the images of a digest
// (of which the first 12 digits are enough), and frees what no other image needs:
// blobs, cached disks, leftovers. Machines made from it keep running; they have disks
// of their own. It waits until nobody works with the store.
func (s *Store) Remove(ctx context.Context, name string) error {
	match, err := matcher(name)
	if err != nil {
		return err
	}
	leave, err := s.enterAlone(ctx)
	if err != nil {
		return err
	}
	defer leave()
	removed := 0
	err = s.change(ctx, func(ds []v1.Descriptor) []v1.Descriptor {
		kept := slices.DeleteFunc(slices.Clone(ds), match)
		removed = len(ds) - len(kept)
		return kept
	})
	if err != nil {
		return err
	}
	if removed == 0 {
		return &NotFoundError{Reference: name, Where: "the store", Hint: "\"stead image ls\" shows what is there"}
	}
	return s.sweep(ctx)
}

// matcher tells which entries a user means.
func matcher(name string) (func(v1.Descriptor) bool, error) {
	const enough = 12
	digits := strings.TrimPrefix(name, "sha256:")
	byDigest := len(digits) >= enough && strings.Trim(digits, "0123456789abcdef") == ""
	r, err := parseReference(name)
	if err != nil && !byDigest {
		return nil, err
	}
	return func(d v1.Descriptor) bool {
		return err == nil && named(d, r.String()) || byDigest && strings.HasPrefix(d.Digest.Hex, digits)
	}, nil
}

// sweep frees what the index does not lead to. The caller is alone in the store.
func (s *Store) sweep(ctx context.Context) error {
	index, err := s.index()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, d := range index.Manifests {
		needed[d.Digest.Hex] = true
		var m v1.Manifest
		if err := s.document(ctx, storeSource{s}, d, &m); err != nil {
			s.log.Warn("image store: an image is damaged", "digest", d.Digest, "error", err)
			continue
		}
		for _, l := range append(m.Layers, m.Config) {
			needed[l.Digest.Hex] = true
		}
	}
	s.clearTmp()
	blobs := filepath.Join(s.dir, ocispec.ImageBlobsDir)
	return errors.Join(
		sweepDir(filepath.Join(blobs, "sha256"), needed),
		sweepDir(filepath.Join(blobs, "sha512"), needed),
		sweepDir(s.disksDir(), needed),
		// Locks are worth nothing while nobody else is in the store.
		sweepDir(s.locksDir(), nil),
	)
}

// sweepDir removes the files whose name does not begin with a digest that is needed.
func sweepDir(dir string, needed map[string]bool) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	for _, f := range files {
		digest, _, _ := strings.Cut(f.Name(), "-")
		if !needed[digest] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}
