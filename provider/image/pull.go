package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
)

// parallel is the number of blobs that are downloaded at once.
const parallel = 4

// Resolve returns the image that ref currently refers to on platform p. It stores nothing.
// It reads files each time. It looks up a name in the store first, so that a push to a tag
// does not change a machine's image; with pull it asks the registry anyway, unless the name
// is a digest or was imported.
func (s *Store) Resolve(ctx context.Context, ref string, p platform.Platform, pull bool) (Image, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Image{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	img, err := s.resolve(ctx, r, p, pull)
	return img, s.explain(err)
}

func (s *Store) resolve(ctx context.Context, r reference, p platform.Platform, pull bool) (Image, error) {
	if r.name != nil {
		img, imported, err := s.lookUp(ctx, r, p)
		var other *PlatformError
		if err == nil && (!pull || imported || r.fixed()) {
			return img, nil
		}
		if imported && errors.As(err, &other) {
			return Image{}, err
		}
	}
	src, err := s.openSource(ctx, r)
	if err != nil {
		return Image{}, err
	}
	defer s.close(src)
	f, err := s.find(ctx, src, r.String(), p)
	return f.Image, err
}

// lookUp returns the image that the store has under a name. An image without its manifest
// counts as missing.
func (s *Store) lookUp(ctx context.Context, r reference, p platform.Platform) (_ Image, imported bool, _ error) {
	index, err := s.index()
	if err != nil {
		return Image{}, false, err
	}
	err = fs.ErrNotExist
	for _, d := range index.Manifests {
		if !hasTag(d, r.String()) {
			continue
		}
		imported = d.Annotations[importedAnnotation] != ""
		var f sourceImage
		if f, err = s.load(ctx, storeSource{s}, r.String(), d, p); err == nil {
			return f.Image, imported, nil
		}
	}
	return Image{}, imported, err
}

// Pull ensures that the image that ref refers to on p is in the store, complete and
// verified. It asks a registry only for what is missing, as [Store.Resolve] does without
// pull.
func (s *Store) Pull(ctx context.Context, ref string, p platform.Platform, progress transfer.Progress) (Image, error) {
	img, err := s.Resolve(ctx, ref, p, false)
	if err != nil {
		return Image{}, err
	}
	return s.Fetch(ctx, img, progress)
}

// Fetch ensures that exactly img, as it was resolved, is in the store. From then on its
// reference refers to it. Reference, Digest and Platform identify the image; Fetch fills in
// the rest. It keeps the blobs that an interrupted call has downloaded.
func (s *Store) Fetch(ctx context.Context, img Image, progress transfer.Progress) (Image, error) {
	r, err := parseReference(img.Reference)
	if err != nil {
		return Image{}, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return Image{}, err
	}
	defer leave()
	img, err = s.fetch(ctx, r, img, progress.Serial())
	return img, s.explain(err)
}

func (s *Store) fetch(ctx context.Context, r reference, img Image, progress transfer.Progress) (Image, error) {
	if f, ok := s.loadComplete(ctx, r, img); ok {
		if now, _, err := s.lookUp(ctx, r, img.Platform); err == nil && now.Digest == img.Digest {
			return now, nil
		}
		return f.Image, s.record(ctx, f.desc, r.String(), img.Platform, false)
	}
	r.pin = img.Digest
	src, err := s.openSource(ctx, r)
	if err != nil {
		return Image{}, err
	}
	defer s.close(src)
	cands, err := s.candidatesOf(ctx, src)
	if err != nil {
		return Image{}, err
	}
	for _, c := range cands {
		if c.desc.Digest.String() != img.Digest {
			continue
		}
		f, err := s.load(ctx, src, r.String(), c.as(img.Platform), img.Platform)
		if err != nil {
			return Image{}, err
		}
		return f.Image, s.copy(ctx, f, r.String(), false, progress)
	}
	return Image{}, &NotFoundError{
		Reference: img.Reference + " with digest " + img.Digest, Where: src.String(),
		Hint: "run the command again; the reference has changed since it was resolved",
	}
}

// loadComplete returns img from the store and whether all of it is there.
func (s *Store) loadComplete(ctx context.Context, r reference, img Image) (sourceImage, bool) {
	h, err := v1.NewHash(img.Digest)
	if err != nil {
		return sourceImage{}, false
	}
	f, err := s.loadStored(ctx, r.String(), h, img.Platform)
	if err != nil {
		return sourceImage{}, false
	}
	for _, l := range f.manifest.Layers {
		if !s.has(l) {
			return sourceImage{}, false
		}
	}
	return f, true
}

// copy copies an image into the store under the given name. It copies the blobs first, so
// that images in the index are always complete.
func (s *Store) copy(ctx context.Context, f sourceImage, as string, imported bool, progress transfer.Progress) error {
	blobs := distinct(append([]v1.Descriptor{f.manifest.Config}, f.manifest.Layers...))
	if err := s.checkRoom("image "+as, blobs); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, d := range blobs {
		g.Go(func() error { return explainMissing(f.src, d, s.copyBlob(gctx, f.src, d, progress)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := s.copyBlob(ctx, f.src, f.desc, progress); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(s.blobPath(f.desc.Digest))); err != nil {
		return err
	}
	return s.record(ctx, f.desc, as, f.Platform, imported)
}

// distinct returns descs without those whose digest occurred before.
func distinct(descs []v1.Descriptor) []v1.Descriptor {
	seen := map[v1.Hash]bool{}
	return slices.DeleteFunc(descs, func(d v1.Descriptor) bool {
		before := seen[d.Digest]
		seen[d.Digest] = true
		return before
	})
}

// checkRoom returns a [*space.NoRoomError] if the missing blobs do not fit on the disk. Their sizes
// are what a manifest announces, which may be anything.
func (s *Store) checkRoom(what string, blobs []v1.Descriptor) error {
	free, err := space.Free(s.dir)
	if err != nil {
		return err
	}
	need := int64(0)
	for _, d := range blobs {
		if s.has(d) {
			continue
		}
		rest := d.Size
		if info, err := os.Stat(s.partPath(d.Digest)); err == nil { // of an interrupted pull
			rest = max(0, rest-info.Size())
		}
		if need += rest; need < 0 {
			need = math.MaxInt64
			break
		}
	}
	if need > free {
		return &space.NoRoomError{What: what, Dir: s.dir, Need: need, Free: free}
	}
	return nil
}

// copyBlob copies one blob into the store. If another process is downloading it, copyBlob
// waits for that process.
func (s *Store) copyBlob(ctx context.Context, src transfer.Source, d v1.Descriptor, progress transfer.Progress) error {
	unlock, err := s.lock(ctx, "blob-"+d.Digest.Hex, "downloads "+transfer.ShortID(d.Digest.String()))
	if err != nil {
		return err
	}
	defer unlock()
	m := &transfer.Meter{Event: transfer.Event{ID: transfer.ShortID(d.Digest.String()), Action: transfer.ActionPull, Total: d.Size}, Report: progress}
	if s.has(d) {
		m.Action = transfer.ActionKeep
		m.Finish()
		return nil
	}
	err = s.retry.Do(ctx, func() error { return transfer.Receive(ctx, src, d, s.partPath(d.Digest), s.blobPath(d.Digest), m) })
	if err != nil {
		return err
	}
	m.Finish()
	return nil
}

// close closes a source. It only logs an error, as the source was only read.
func (s *Store) close(src source) {
	if err := src.Close(); err != nil {
		s.log.Warn("image: cannot close the source", "source", src.String(), "err", err)
	}
}

// loadStored reads an image that must be in the store.
func (s *Store) loadStored(ctx context.Context, reference string, h v1.Hash, p platform.Platform) (sourceImage, error) {
	info, err := os.Stat(s.blobPath(h))
	if err != nil {
		return sourceImage{}, &NotFoundError{
			Reference: fmt.Sprintf("%s (%s)", reference, h), Where: "the store",
			Hint: "pull or import it again", Err: err,
		}
	}
	f, err := s.load(ctx, storeSource{s}, reference, v1.Descriptor{Digest: h, Size: info.Size(), Platform: descriptorOf(p)}, p)
	if err != nil {
		return sourceImage{}, err
	}
	f.desc.MediaType = cmp.Or(f.manifest.MediaType, types.OCIManifestSchema1)
	return f, nil
}
