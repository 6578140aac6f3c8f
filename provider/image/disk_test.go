package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/transfer"
)

// imported imports a sample image into a new store.
func imported(t *testing.T) (s *Store, dir string, img Image) {
	t.Helper()
	dir = t.TempDir()
	s = newStore(t, dir)
	file := writeFile(t, filepath.Join(t.TempDir(), "image.tar"), ggcrArchiveOf(t, sample(t, "x")))
	img, err := s.Pull(t.Context(), "docker-archive:"+file, amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir, img
}

func TestADiskIsCreatedOnceForEachSize(t *testing.T) {
	s, dir, img := imported(t)
	var made atomic.Int32
	var events []transfer.Event
	s.makeDisk = func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
		made.Add(1)
		if digest != img.Digest || len(layers) != 3 {
			t.Errorf("called for %s with %d layers", digest, len(layers))
		}
		return concatenate(ctx, f, layers, size, digest)
	}
	paths := map[string]bool{}
	for _, size := range []int64{1 << 20, 1 << 20, 2 << 20} {
		path, err := s.Disk(t.Context(), img, size, func(e transfer.Event) { events = append(events, e) })
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != size {
			t.Errorf("the disk is %v, %v; want %d bytes", info, err, size)
		}
		paths[path] = true
	}
	if made.Load() != 2 || len(paths) != 2 {
		t.Errorf("%d disks were created at %v, want one for each size", made.Load(), paths)
	}
	if last := events[len(events)-1]; !last.Done || last.Action != transfer.ActionDisk || last.Current != img.Size {
		t.Errorf("the last event is %+v", last)
	}
	wantNothingHalf(t, dir)
}

func TestConcurrentCallersShareADisk(t *testing.T) {
	_, dir, img := imported(t)
	var made atomic.Int32
	var g errgroup.Group
	for range 4 {
		s := newStore(t, dir)
		s.makeDisk = func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
			made.Add(1)
			return concatenate(ctx, f, layers, size, digest)
		}
		g.Go(func() error {
			_, err := s.Disk(t.Context(), img, 1<<20, nil)
			return err
		})
	}
	if err := g.Wait(); err != nil || made.Load() != 1 {
		t.Errorf("created %d times, %v", made.Load(), err)
	}
}

func TestAFailedConversionLeavesNothing(t *testing.T) {
	s, dir, img := imported(t)
	broken := errors.New("the writer has failed")
	s.makeDisk = func(_ context.Context, f *os.File, _ []Layer, _ int64, _ string) error {
		_, err := f.WriteString("half a disk")
		return errors.Join(err, broken)
	}
	_, err := s.Disk(t.Context(), img, 1<<20, nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	wantError(t, err, "", img.Reference)
	if disks, _ := os.ReadDir(filepath.Join(dir, "disks")); len(disks) != 0 {
		t.Errorf("an incomplete disk was kept: %v", disks)
	}
	wantNothingHalf(t, dir)
}

func TestALayerThatDiffersFromTheConfigIsRejected(t *testing.T) {
	img := sample(t, "x")
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.RootFS.DiffIDs[1] = digestOf(t, img)
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	r := newRegistry(t)
	s := newStore(t, t.TempDir())
	got, err := s.Pull(t.Context(), r.push(t, "wrong:1", img), amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), got, 1<<20, nil)
	wantError(t, err, "retry", digestOf(t, layersOf(t, img)[1]).String(), "but the config says")
}

func TestALayerNotReadToItsEndIsNotTrusted(t *testing.T) {
	s, _, img := imported(t)
	s.makeDisk = func(_ context.Context, _ *os.File, layers []Layer, _ int64, _ string) error {
		_, err := layers[0].Open()
		return err
	}
	_, err := s.Disk(t.Context(), img, 1<<20, nil)
	wantError(t, err, "", "was not read to its end")
}

func TestABlobDamagedOnDiskIsRemoved(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	want := sample(t, "x")
	ref := r.push(t, "sample:1", want)
	s := newStore(t, dir)
	img, err := s.Pull(t.Context(), ref, amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, blobFile(dir, digestOf(t, layersOf(t, want)[2])))
	_, err = s.Disk(t.Context(), img, 1<<20, nil)
	wantError(t, err, "pull or import the image again", "from the store")
	if img, err = s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	wantDisk(t, s, img, content(t, want))
}

func TestADiskNeedsThePulledImage(t *testing.T) {
	r, s := newRegistry(t), newStore(t, t.TempDir())
	img, err := s.Resolve(t.Context(), r.push(t, "sample:1", sample(t, "x")), amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), img, 1<<20, nil)
	wantError(t, err, "pull or import it again", img.Reference, "not found in the store")
}

func TestTheErrorOfAFullDiskSaysHowToFreeSpace(t *testing.T) {
	s, _, img := imported(t)
	s.makeDisk = func(_ context.Context, f *os.File, _ []Layer, _ int64, _ string) error {
		return &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	_, err := s.Disk(t.Context(), img, 1<<20, nil)
	wantError(t, err, "stead image prune", "no space left in "+s.dir)
}

func TestAPullOntoAFullDiskLeavesRoomToRemoveImages(t *testing.T) {
	dir := smallDisk(t, "64k")
	s := newStore(t, dir)
	big := layoutOf(t, map[string]v1.Image{"": imageOf(t, amd64, layerOf(t, "random", noise(200_000)))})
	_, err := s.Pull(t.Context(), "oci:"+big, amd64, nil)
	wantError(t, err, "stead image prune", "needs", dir+" has")
	wantNothingHalf(t, dir)
}

// noise returns data that does not compress.
func noise(n int) string {
	var b strings.Builder
	x := uint32(1)
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b.WriteByte(byte(x))
	}
	return b.String()
}

func TestAStoreNeedsADirectory(t *testing.T) {
	_, err := New(Options{})
	wantError(t, err, "", "Options.Dir is required")
	file := writeFile(t, filepath.Join(t.TempDir(), "file"), []byte("x"))
	_, err = New(Options{Dir: file})
	wantError(t, err, "", file)

	s, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Disk(t.Context(), Image{Digest: "sha256:" + strings.Repeat("0", 64)}, 1, nil)
	wantError(t, err, "", "Options.MakeDisk is required")
}
