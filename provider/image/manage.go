package image

import (
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/space"
)

// Entry is an image in the store.
type Entry struct {
	Image
	Imported bool        // it came from a file; registries are not asked about it
	Disks    space.Space // its cached disks
	Problem  string      // why it cannot be used; empty if it can
}

// List returns the images in the store, ordered by name and platform.
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
	return s.entries(ctx, index.Manifests)
}

func (s *Store) entries(ctx context.Context, ds []v1.Descriptor) ([]Entry, error) {
	entries := make([]Entry, 0, len(ds))
	for _, d := range ds {
		e, err := s.entry(ctx, d)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, byName)
	return entries, nil
}

func byName(a, b Entry) int {
	return strings.Compare(a.Reference+" "+a.Platform.String(), b.Reference+" "+b.Platform.String())
}

func (s *Store) entry(ctx context.Context, d v1.Descriptor) (Entry, error) {
	p := describedPlatform(d).Or(platform.Host())
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
	disks, err := listFiles(s.disksDir())
	for _, f := range disks {
		if f.digest == d.Digest.Hex && s.isCurrent(f) {
			e.Disks = e.Disks.Plus(f.Space)
		}
	}
	return e, err
}

// Remove removes the image of a name, for every platform, or the images of a digest (the
// first 12 digits are enough), and frees what [Store.Prune] frees. Machines created from
// the image are not affected: they have disks of their own. Remove waits until no other
// process uses the store.
func (s *Store) Remove(ctx context.Context, name string) (PruneResult, error) {
	match, err := matcher(name)
	if err != nil {
		return PruneResult{}, err
	}
	return s.Prune(ctx, PruneOptions{Unwanted: func(entries []Entry) ([]Entry, error) {
		entries = slices.DeleteFunc(entries, func(e Entry) bool { return !match(e) })
		if len(entries) == 0 {
			return nil, &NotFoundError{Reference: name, Where: "the store", Hint: "run \"stead image ls\" to list the images"}
		}
		return entries, nil
	}})
}

// matcher returns a function that reports whether an entry matches a name or digest.
func matcher(name string) (func(Entry) bool, error) {
	const enough = 12
	digits := strings.TrimPrefix(name, "sha256:")
	byDigest := len(digits) >= enough && strings.Trim(digits, "0123456789abcdef") == ""
	r, err := parseReference(name)
	if err != nil && !byDigest {
		return nil, err
	}
	return func(e Entry) bool {
		_, digest, _ := strings.Cut(e.Digest, ":")
		return err == nil && e.Reference == r.String() || byDigest && strings.HasPrefix(digest, digits)
	}, nil
}
