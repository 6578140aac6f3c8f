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

// PruneOptions says what [Store.Prune] removes in addition to unreferenced files.
type PruneOptions struct {
	// Unwanted selects images to remove. Prune calls it while no other process uses the
	// store. Default: remove no images.
	Unwanted func([]Entry) ([]Entry, error)
	// Disks removes all cached disks. They are created again when they are needed.
	Disks bool
	// DryRun only reports what would be removed.
	DryRun bool
}

// PruneResult reports what was removed.
type PruneResult struct {
	Images []Entry
	Files  int
	Freed  int64 // allocated bytes; blocks shared with a machine's disk stay allocated
}

// Prune removes what no image needs: blobs of tags that have moved, parts of interrupted
// pulls, leftovers of killed processes, and cached disks of another format or of a removed
// image. It waits until no other process uses the store. Machines are not affected: they
// have disks of their own.
func (s *Store) Prune(ctx context.Context, o PruneOptions) (PruneResult, error) {
	leave, err := s.enterAlone(ctx)
	if err != nil {
		return PruneResult{}, err
	}
	defer leave()
	index, err := s.index()
	if err != nil {
		return PruneResult{}, err
	}
	p := PruneResult{}
	if p.Images, err = s.selectUnwanted(ctx, index.Manifests, o); err != nil {
		return PruneResult{}, err
	}
	forget := func(ds []v1.Descriptor) []v1.Descriptor {
		return slices.DeleteFunc(slices.Clone(ds), func(d v1.Descriptor) bool {
			return slices.ContainsFunc(p.Images, func(e Entry) bool { return e.isOf(d) })
		})
	}
	files, err := s.listUnneeded(ctx, forget(index.Manifests), o.Disks)
	if err != nil || o.DryRun {
		p.count(files)
		return p, err
	}
	err = s.free(ctx, &p, forget, files)
	return p, err
}

// free removes the images from the index and then the files.
func (s *Store) free(ctx context.Context, p *PruneResult, forget func([]v1.Descriptor) []v1.Descriptor, files []storedFile) error {
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
		// The disk was too full to write even a shorter index: try again.
		if err := s.change(ctx, forget); err != nil {
			return s.explain(err)
		}
	}
	return s.clearLocks()
}

func (p *PruneResult) count(files []storedFile) {
	for _, f := range files {
		p.Files++
		p.Freed += f.Real
	}
}

// selectUnwanted returns the images that o selects.
func (s *Store) selectUnwanted(ctx context.Context, images []v1.Descriptor, o PruneOptions) ([]Entry, error) {
	if o.Unwanted == nil {
		return nil, nil
	}
	entries, err := s.entries(ctx, images)
	if err != nil {
		return nil, err
	}
	return o.Unwanted(entries)
}

// isOf reports whether d describes the entry's image.
func (e Entry) isOf(d v1.Descriptor) bool {
	return e.Digest == d.Digest.String() && e.Reference == d.Annotations[ocispec.AnnotationRefName]
}

// listUnneeded lists the files that the images do not need, with disks also their cached disks.
// The caller holds the store alone, so no file is in the making.
func (s *Store) listUnneeded(ctx context.Context, images []v1.Descriptor, disks bool) ([]storedFile, error) {
	needed, named := map[string]bool{}, map[string]bool{}
	for _, d := range images {
		named[d.Digest.Hex] = true
		names, err := s.blobsOf(ctx, d)
		if err != nil {
			s.log.Warn("image store: an image is damaged", "digest", d.Digest, "err", err)
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
	cached, err := listFiles(s.disksDir())
	if err != nil {
		return nil, err
	}
	files = append(files, slices.DeleteFunc(cached, func(f storedFile) bool {
		return !disks && named[f.digest] && s.isCurrent(f)
	})...)
	for _, dir := range []string{s.partialDir(), s.tmpDir()} {
		left, err := listFiles(dir)
		if err != nil {
			return nil, err
		}
		files = append(files, left...)
	}
	return files, nil
}

// clearLocks removes all lock files. That is safe because the caller holds the store alone.
func (s *Store) clearLocks() error {
	locks, err := listFiles(s.locksDir())
	for _, f := range locks {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}
