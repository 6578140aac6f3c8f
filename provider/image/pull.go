package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

// parallel is how many blobs are fetched at once.
const parallel = 4

// Resolve tells which image ref means now on p, and keeps nothing. Files are read each
// time. A name is looked for in the store first, so that a machine's image does not
// change because somebody pushed to a tag; with pull the registry is asked anyway,
// unless the name is a digest or was imported.
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
		img, imported, err := s.stored(ctx, r, p)
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

// stored is the image that the store has under a name. A manifest that somebody has
// taken away makes it as if it were not there.
func (s *Store) stored(ctx context.Context, r reference, p platform.Platform) (_ Image, imported bool, _ error) {
	index, err := s.index()
	if err != nil {
		return Image{}, false, err
	}
	err = fs.ErrNotExist
	for _, d := range index.Manifests {
		if !named(d, r.String()) {
			continue
		}
		imported = d.Annotations[importedAnnotation] != ""
		var f found
		if f, err = s.load(ctx, storeSource{s}, r.String(), d, p); err == nil {
			return f.Image, imported, nil
		}
	}
	return Image{}, imported, err
}

// Pull makes sure that what ref means on p is in the store, whole and verified. It asks
// a registry only for what is not there, as [Store.Resolve] does without pull.
func (s *Store) Pull(ctx context.Context, ref string, p platform.Platform, progress transfer.Progress) (Image, error) {
	img, err := s.Resolve(ctx, ref, p, false)
	if err != nil {
		return Image{}, err
	}
	return s.Fetch(ctx, img, progress)
}

// Fetch makes sure that exactly img, as it was resolved, is in the store, and from then
// on that is what its reference means. Reference, Digest and Platform say which image it
// is; the rest is filled in. What an interrupted call has fetched is kept.
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
	if f, ok := s.whole(ctx, r, img); ok {
		if now, _, err := s.stored(ctx, r, img.Platform); err == nil && now.Digest == img.Digest {
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
		f, err := s.load(ctx, src, r.String(), c.desc, img.Platform)
		if err != nil {
			return Image{}, err
		}
		return f.Image, s.copy(ctx, f, r.String(), false, progress)
	}
	return Image{}, &NotFoundError{
		Reference: img.Reference + " with digest " + img.Digest, Where: src.String(),
		Hint: "it has changed since it was looked at: run the command again",
	}
}

// whole finds img in the store if nothing of it is missing there.
func (s *Store) whole(ctx context.Context, r reference, img Image) (found, bool) {
	h, err := v1.NewHash(img.Digest)
	if err != nil {
		return found{}, false
	}
	f, err := s.loadStored(ctx, r.String(), h, img.Platform)
	if err != nil {
		return found{}, false
	}
	for _, l := range f.manifest.Layers {
		if !s.has(l) {
			return found{}, false
		}
	}
	return f, true
}

// copy brings an image into the store under the given name. The blobs come first, so
// that what the index names is always whole.
func (s *Store) copy(ctx context.Context, f found, as string, imported bool, progress transfer.Progress) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	seen := map[v1.Hash]bool{}
	for _, d := range append([]v1.Descriptor{f.manifest.Config}, f.manifest.Layers...) {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		g.Go(func() error { return s.copyBlob(gctx, f.src, d, progress) })
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

// copyBlob brings one blob into the store. Who finds another process busy with it
// waits, and then has it.
func (s *Store) copyBlob(ctx context.Context, src transfer.Source, d v1.Descriptor, progress transfer.Progress) error {
	unlock, err := s.lock(ctx, "blob-"+d.Digest.Hex)
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

// close ends the use of a source, which was only read.
func (s *Store) close(src source) {
	if err := src.Close(); err != nil {
		s.log.Warn("image: cannot close", "source", src.String(), "error", err)
	}
}

// loadStored reads an image that must be in the store.
func (s *Store) loadStored(ctx context.Context, reference string, h v1.Hash, p platform.Platform) (found, error) {
	info, err := os.Stat(s.blobPath(h))
	if err != nil {
		return found{}, &NotFoundError{
			Reference: fmt.Sprintf("%s (%s)", reference, h), Where: "the store",
			Hint: "pull or import it again", Err: err,
		}
	}
	f, err := s.load(ctx, storeSource{s}, reference, v1.Descriptor{Digest: h, Size: info.Size()}, p)
	if err != nil {
		return found{}, err
	}
	f.desc.MediaType = cmp.Or(f.manifest.MediaType, types.OCIManifestSchema1)
	return f, nil
}
