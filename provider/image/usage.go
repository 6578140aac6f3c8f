package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Space is what files take, in bytes.
type Space struct {
	Size int64 // as they look: holes count
	Real int64 // of allocated blocks; those that clones share count for each
}

// SpaceOf is what one file takes.
func SpaceOf(info fs.FileInfo) Space { return Space{Size: info.Size(), Real: occupied(info)} }

// Plus adds up.
func (s Space) Plus(o Space) Space { return Space{Size: s.Size + o.Size, Real: s.Real + o.Real} }

// SpaceIn adds up the regular files beneath a directory. What goes away meanwhile takes nothing.
func SpaceIn(dir string) (s Space, files int, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				s = s.Plus(SpaceOf(info))
				files++
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return s, files, err
}

// Usage is what a store takes.
type Usage struct {
	Images      []StoredImage
	Disks       []StoredDisk
	Blobs       Space // of all images; what they share counts once
	Nameless    Space // of Blobs: what no image leads to, as after a tag has moved
	Parts       Space // what interrupted pulls have left to be gone on with
	Reclaimable int64 // of Blobs and Parts, in real bytes: all that no image in use needs
}

// StoredImage is an image and what it takes.
type StoredImage struct {
	Entry
	Blobs Space // what it shares with others counts for each
	Own   int64 // real bytes that no other image needs
}

// StoredDisk is a cached disk and what it takes.
type StoredDisk struct {
	Reference string // of its image; empty when nothing leads to that
	Stale     bool   // made by another version, or of an image that is gone
	Space
}

// Usage tells what the store takes. The image of a digest that used confirms is needed
// by somebody outside of the store.
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
	parts, err := stored(s.partialDir())
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
	space := map[string]Space{}
	for _, b := range blobs {
		space[b.digest] = b.Space
	}
	owners, inUse := map[string]int{}, map[string]bool{}
	needs := make([][]string, len(images))
	for i, d := range images {
		needs[i], _ = s.blobsOf(ctx, d) // what is wrong with it is in its Entry
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
	files, err := stored(s.disksDir())
	disks := make([]StoredDisk, 0, len(files))
	for _, f := range files {
		name, known := names[f.digest]
		disks = append(disks, StoredDisk{Reference: name, Stale: !known || !s.current(f), Space: f.Space})
	}
	return disks, err
}

// storedFile is a file of the store, or a directory with temporary ones.
type storedFile struct {
	path   string
	digest string // in hexadecimal: a blob's, or that of the image that a disk is of
	Space
}

// stored lists a directory of the store.
func stored(dir string) ([]storedFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	files := make([]storedFile, 0, len(entries))
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		space, _, err := SpaceIn(path)
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
	files, err := stored(filepath.Join(dir, "sha256"))
	if err != nil {
		return nil, err
	}
	more, err := stored(filepath.Join(dir, "sha512"))
	return append(files, more...), err
}

// current tells whether a disk is of the form that this program makes.
func (s *Store) current(disk storedFile) bool {
	return strings.HasPrefix(filepath.Base(disk.path), diskPrefix(v1.Hash{Hex: disk.digest}, s.diskFormat))
}

// blobsOf finds the blobs that an image leads to, by the names of their files. Of a
// damaged one it is the manifest alone, and why.
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
