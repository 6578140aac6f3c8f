package image

import (
	"context"
	"errors"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/space"
)

// PruneOptions says what [Store.Prune] frees besides what nothing leads to.
type PruneOptions struct {
	// Unwanted picks images that go too. It is asked while nobody else works with the
	// store. Default: none go.
	Unwanted func([]Entry) ([]Entry, error)
	// Disks means all cached disks: they are made again when they are wanted.
	Disks bool
	// DryRun changes nothing and tells what would go.
	DryRun bool
}

// Pruned tells what went.
type Pruned struct {
	Images []Entry
	Files  int
	Freed  int64 // real bytes; blocks that a machine's disk shares stay with that
}

// Prune frees what no image needs: blobs of tags that have moved, parts of interrupted
// pulls, leftovers, and cached disks that are of another version or of an image that is
// gone. It waits until nobody works with the store. Machines have disks of their own.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	leave, err := s.enterAlone(ctx)
	if err != nil {
		return Pruned{}, err
	}
	defer leave()
	index, err := s.index()
	if err != nil {
		return Pruned{}, err
	}
	p := Pruned{}
	if p.Images, err = s.unwanted(ctx, index.Manifests, o); err != nil {
		return Pruned{}, err
	}
	forget := func(ds []v1.Descriptor) []v1.Descriptor {
		return slices.DeleteFunc(slices.Clone(ds), func(d v1.Descriptor) bool {
			return slices.ContainsFunc(p.Images, func(e Entry) bool { return e.isOf(d) })
		})
	}
	files, err := s.unneeded(ctx, forget(index.Manifests), o.Disks)
	if err != nil || o.DryRun {
		p.count(files)
		return p, err
	}
	err = s.free(ctx, &p, forget, files)
	return p, err
}

// free removes the images and then the files that nothing leads to without them.
func (s *Store) free(ctx context.Context, p *Pruned, forget func([]v1.Descriptor) []v1.Descriptor, files []storedFile) error {
	var full error
	if len(p.Images) > 0 {
		if full = s.change(ctx, forget); full != nil && !space.IsFull(full) {
			return full
		}
	}
	for _, f := range files {
		if err := os.RemoveAll(f.path); err != nil {
			return err
		}
		p.count([]storedFile{f})
	}
	if full != nil {
		// There was no room for a shorter index; now there is.
		if err := s.change(ctx, forget); err != nil {
			return s.explain(err)
		}
	}
	return s.clearLocks()
}

func (p *Pruned) count(files []storedFile) {
	for _, f := range files {
		p.Files++
		p.Freed += f.Real
	}
}

// unwanted asks which images go.
func (s *Store) unwanted(ctx context.Context, images []v1.Descriptor, o PruneOptions) ([]Entry, error) {
	if o.Unwanted == nil {
		return nil, nil
	}
	entries, err := s.entries(ctx, images)
	if err != nil {
		return nil, err
	}
	return o.Unwanted(entries)
}

// isOf tells whether the entry was made of d.
func (e Entry) isOf(d v1.Descriptor) bool {
	return e.Digest == d.Digest.String() && e.Reference == d.Annotations[ocispec.AnnotationRefName]
}

// unneeded lists what the images do not lead to, with disks also their cached disks.
// The caller is alone in the store: nothing is on its way.
func (s *Store) unneeded(ctx context.Context, images []v1.Descriptor, disks bool) ([]storedFile, error) {
	needed, named := map[string]bool{}, map[string]bool{}
	for _, d := range images {
		named[d.Digest.Hex] = true
		names, err := s.blobsOf(ctx, d)
		if err != nil {
			s.log.Warn("image store: an image is damaged", "digest", d.Digest, "error", err)
		}
		for _, n := range names {
			needed[n] = true
		}
	}
	blobs, err := s.blobs()
	if err != nil {
		return nil, err
	}
	files := slices.DeleteFunc(blobs, func(f storedFile) bool { return needed[f.digest] })
	cached, err := stored(s.disksDir())
	if err != nil {
		return nil, err
	}
	files = append(files, slices.DeleteFunc(cached, func(f storedFile) bool {
		return !disks && named[f.digest] && s.current(f)
	})...)
	for _, dir := range []string{s.partialDir(), s.tmpDir()} {
		left, err := stored(dir)
		if err != nil {
			return nil, err
		}
		files = append(files, left...)
	}
	return files, nil
}

// clearLocks removes lock files, which are worth nothing while nobody else is here.
func (s *Store) clearLocks() error {
	locks, err := stored(s.locksDir())
	for _, f := range locks {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}
