package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/space"
)

// Usage is the disk usage of a store.
type Usage struct {
	Images      []StoredImage
	Disks       []StoredDisk
	Blobs       space.Space // of all images; shared blobs count once
	Nameless    space.Space // part of Blobs that no image needs, as after a tag has moved
	Parts       space.Space // of interrupted pulls, which can be resumed
	Reclaimable int64       // part of Blobs and Parts, in allocated bytes, that no image in use needs
}

// StoredImage is an image and its disk usage.
type StoredImage struct {
	Entry
	Blobs space.Space // blobs shared with other images count for each
	Own   int64       // allocated bytes that no other image needs
}

// StoredDisk is a cached disk and its disk usage.
type StoredDisk struct {
	Reference string // of its image; empty if that was removed
	Stale     bool   // of another format, or of a removed image
	space.Space
}

// Usage returns the disk usage of the store. used reports whether the image with a digest
// is in use outside of the store.
func (s *Store) Usage(ctx context.Context, used func(digest string) bool) (Usage, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return Usage{}, err
	}
	defer leave()
	index, err := s.index()
	if err != nil {
		return Usage{}, err
	}
	blobs, err := s.blobs()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{}
	if err := s.imagesUsage(ctx, &u, index.Manifests, blobs, used); err != nil {
		return Usage{}, err
	}
	parts, err := listFiles(s.partialDir())
	for _, f := range parts {
		u.Parts = u.Parts.Plus(f.Space)
		u.Reclaimable += f.Real
	}
	if err != nil {
		return Usage{}, err
	}
	u.Disks, err = s.disksUsage(index.Manifests)
	return u, err
}

func (s *Store) imagesUsage(ctx context.Context, u *Usage, images []v1.Descriptor, blobs []storedFile, used func(string) bool) error {
	space := map[string]space.Space{}
	for _, b := range blobs {
		space[b.digest] = b.Space
	}
	owners, inUse := map[string]int{}, map[string]bool{}
	needs := make([][]string, len(images))
	for i, d := range images {
		needs[i], _ = s.blobsOf(ctx, d) // the image's Entry reports the error
		for _, h := range needs[i] {
			owners[h]++
			inUse[h] = inUse[h] || used(d.Digest.String())
		}
	}
	for _, b := range blobs {
		u.Blobs = u.Blobs.Plus(b.Space)
		if owners[b.digest] == 0 {
			u.Nameless = u.Nameless.Plus(b.Space)
		}
		if !inUse[b.digest] {
			u.Reclaimable += b.Real
		}
	}
	for i, d := range images {
		e, err := s.entry(ctx, d)
		if err != nil {
			return err
		}
		img := StoredImage{Entry: e}
		for _, h := range needs[i] {
			img.Blobs = img.Blobs.Plus(space[h])
			if owners[h] == 1 {
				img.Own += space[h].Real
			}
		}
		u.Images = append(u.Images, img)
	}
	slices.SortFunc(u.Images, func(a, b StoredImage) int { return byName(a.Entry, b.Entry) })
	return nil
}

func (s *Store) disksUsage(images []v1.Descriptor) ([]StoredDisk, error) {
	names := map[string]string{}
	for _, d := range images {
		names[d.Digest.Hex] = d.Annotations[ocispec.AnnotationRefName]
	}
	files, err := listFiles(s.disksDir())
	disks := make([]StoredDisk, 0, len(files))
	for _, f := range files {
		name, known := names[f.digest]
		disks = append(disks, StoredDisk{Reference: name, Stale: !known || !s.isCurrent(f), Space: f.Space})
	}
	return disks, err
}

// storedFile is a file of the store, or a directory with temporary files.
type storedFile struct {
	path   string
	digest string // in hexadecimal: of a blob, or of a disk's image
	space.Space
}

// listFiles lists a directory of the store.
func listFiles(dir string) ([]storedFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	files := make([]storedFile, 0, len(entries))
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		space, _, err := space.In(path)
		if err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
		digest, _, _ := strings.Cut(e.Name(), "-")
		files = append(files, storedFile{path: path, digest: digest, Space: space})
	}
	return files, nil
}

func (s *Store) blobs() ([]storedFile, error) {
	dir := filepath.Join(s.dir, ocispec.ImageBlobsDir)
	files, err := listFiles(filepath.Join(dir, "sha256"))
	if err != nil {
		return nil, err
	}
	more, err := listFiles(filepath.Join(dir, "sha512"))
	return append(files, more...), err
}

// isCurrent reports whether a disk has the format that this version creates.
func (s *Store) isCurrent(disk storedFile) bool {
	return strings.HasPrefix(filepath.Base(disk.path), diskPrefix(v1.Hash{Hex: disk.digest}, s.diskFormat))
}

// blobsOf returns the file names of an image's blobs. For a damaged image it returns the
// manifest alone and an error.
func (s *Store) blobsOf(ctx context.Context, d v1.Descriptor) ([]string, error) {
	names := []string{d.Digest.Hex}
	var m v1.Manifest
	if err := s.document(ctx, storeSource{s}, d, &m); err != nil {
		return names, err
	}
	for _, l := range append(m.Layers, m.Config) {
		if !slices.Contains(names, l.Digest.Hex) {
			names = append(names, l.Digest.Hex)
		}
	}
	return names, nil
}
