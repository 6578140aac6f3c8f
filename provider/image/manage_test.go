package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
)

func TestListShowsImages(t *testing.T) {
	r, s := newRegistry(t), newStore(t, t.TempDir())
	if entries, err := s.List(t.Context()); err != nil || len(entries) != 0 {
		t.Fatalf("an empty store lists %v, %v", entries, err)
	}
	ref := r.push(t, "b:1", sample(t, "b"))
	pulled, err := s.Pull(t.Context(), ref, amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "root.tar"), tarOf(t, "etc/x", "x"))
	if _, err := s.Import(t.Context(), "local/z:1", file, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Disk(t.Context(), pulled, 1<<20, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List(t.Context())
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %v, %v; want two", entries, err)
	}
	first, second := entries[0], entries[1]
	if first.Reference != ref || first.Size != pulled.Size || first.Imported || first.Disks.Real == 0 || first.Disks.Size != 1<<20 {
		t.Errorf("first is %+v", first)
	}
	if second.Reference != "local/z:1" || !second.Imported || second.Disks != (space.Space{}) || second.Problem != "" {
		t.Errorf("second is %+v", second)
	}
}

func TestListShowsADamagedImageAndRemoveFreesIt(t *testing.T) {
	s, dir, img := imported(t)
	entries, _ := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	for _, f := range entries {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Problem == "" || list[0].Digest != img.Digest {
		t.Errorf("got %+v, %v", list, err)
	}
	if _, err := s.Remove(t.Context(), img.Digest); err != nil {
		t.Error(err)
	}
}

func TestRemoveFreesWhatNoOtherImageNeeds(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	s := newStore(t, dir)
	shared := layerOf(t, "etc/os-release", "shared")
	own := layerOf(t, "bin/one", "one")
	one := imageOf(t, amd64, shared, own)
	two := imageOf(t, amd64, shared, layerOf(t, "bin/two", "two"))
	refOne, refTwo := r.push(t, "one:1", one), r.push(t, "two:1", two)
	var images []Image
	for _, ref := range []string{refOne, refTwo} {
		img, err := s.Pull(t.Context(), ref, amd64, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Disk(t.Context(), img, 1<<20, nil); err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
	}
	leftover := writeFile(t, filepath.Join(dir, "tmp", "of-a-killed-process"), []byte("x"))

	if _, err := s.Remove(t.Context(), refOne); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		blobFile(dir, digestOf(t, own)):    false,
		blobFile(dir, digestOf(t, one)):    false,
		blobFile(dir, digestOf(t, shared)): true,
		blobFile(dir, digestOf(t, two)):    true,
		leftover:                           false,
	} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it to exist: %v", path, err, want)
		}
	}
	if disks, _ := os.ReadDir(filepath.Join(dir, "disks")); len(disks) != 1 {
		t.Errorf("%d cached disks are left, want one", len(disks))
	}
	wantDisk(t, s, images[1], content(t, two))
	if _, err := s.Disk(t.Context(), images[0], 1<<20, nil); err == nil {
		t.Error("a disk was created from the removed image")
	}

	if _, err := s.Remove(t.Context(), transfer.ShortID(images[1].Digest)); err != nil {
		t.Errorf("by short digest: %v", err)
	}
	if blobs, _ := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); len(blobs) != 0 {
		t.Errorf("%d blobs are left without an image", len(blobs))
	}
	_, err := s.Remove(t.Context(), refTwo)
	wantError(t, err, "stead image ls", refTwo, "not found in the store")
}

func TestRemoveWaitsForOtherProcesses(t *testing.T) {
	s, _, img := imported(t)
	started, finish := make(chan struct{}), make(chan struct{})
	s.makeDisk = func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
		close(started)
		<-finish
		return concatenate(ctx, f, layers, size, digest)
	}
	disk := make(chan error)
	go func() {
		_, err := s.Disk(t.Context(), img, 1<<20, nil)
		disk <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Remove(ctx, img.Reference); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the store is held: %v", err)
	}
	close(finish)
	if err := <-disk; err != nil {
		t.Error(err)
	}
	if _, err := s.Remove(t.Context(), img.Reference); err != nil {
		t.Error(err)
	}
}
