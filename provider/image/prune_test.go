package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/space"
)

// pulled pulls an image from the registry into the store and creates a disk.
func pulled(t *testing.T, s *Store, ref string) (img Image, disk string) {
	t.Helper()
	img, err := s.Resolve(t.Context(), ref, amd64, true)
	if err == nil {
		img, err = s.Fetch(t.Context(), img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	disk, err = s.Disk(t.Context(), img, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img, disk
}

// wantThere checks which files exist and which do not.
func wantThere(t *testing.T, want map[string]bool) {
	t.Helper()
	for path, want := range want {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it to exist: %v", path, err, want)
		}
	}
}

// blobsOfImage returns the paths of an image's blobs.
func blobsOfImage(t *testing.T, dir string, img v1.Image) []string {
	t.Helper()
	c, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	files := []string{blobFile(dir, digestOf(t, img)), blobFile(dir, c)}
	for _, l := range layersOf(t, img) {
		files = append(files, blobFile(dir, digestOf(t, l)))
	}
	return files
}

func TestPruneRemovesUnreferencedFiles(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	s := newStore(t, dir)
	old, now := sample(t, "old"), sample(t, "now")
	ref := r.push(t, "sample:latest", old)
	_, oldDisk := pulled(t, s, ref)
	r.push(t, "sample:latest", now)
	_, disk := pulled(t, s, ref)
	part := writeFile(t, partOf(dir, digestOf(t, sample(t, "never"))), []byte("half"))
	killed := filepath.Join(dir, "tmp", "of-a-killed-process")
	if list, err := s.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the list has %v, %v; want only the tag's current image", list, err)
	}
	want := map[string]bool{oldDisk: false, disk: true, part: false, killed: false}
	for _, f := range blobsOfImage(t, dir, old) {
		want[f] = false
	}
	for _, f := range blobsOfImage(t, dir, now) {
		want[f] = true
	}

	u, err := s.Usage(t.Context(), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(killed, 0o700); err != nil { // only now: List removes temporary files
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(killed, "large"), make([]byte, 50_000))
	told, err := s.Prune(t.Context(), PruneOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for f := range want {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("the dry run removed %s", f)
		}
	}
	did, err := s.Prune(t.Context(), PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantThere(t, want)
	if did.Files != told.Files || did.Freed != told.Freed || did.Files != 8 {
		t.Errorf("removed %+v, the dry run reported %+v; want 8 files", did, told)
	}
	if least := u.Nameless.Real + u.Parts.Real + 50_000; did.Freed < least || u.Nameless.Real == 0 {
		t.Errorf("%d bytes were freed; the usage reported %d", did.Freed, least)
	}
	if again, err := s.Prune(t.Context(), PruneOptions{}); err != nil || again.Files != 0 || again.Freed != 0 {
		t.Errorf("the second prune freed %+v, %v", again, err)
	}
}

func TestADiskOfAnotherFormatIsNotUsedAndIsPruned(t *testing.T) {
	for name, free := range map[string]func(context.Context, *Store) error{
		"by prune": func(ctx context.Context, s *Store) error {
			_, err := s.Prune(ctx, PruneOptions{})
			return err
		},
		"when any image is removed": func(ctx context.Context, s *Store) error {
			_, err := s.Remove(ctx, "local/other:1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir, img := imported(t)
			older, err := s.Disk(t.Context(), img, 1<<20, nil)
			if err != nil {
				t.Fatal(err)
			}
			// The name of disks before they had a format.
			oldest := writeFile(t, filepath.Join(dir, "disks", digestOf(t, sample(t, "x")).Hex+"-1048576.ext4"), []byte("x"))
			s, err = New(Options{Dir: dir, MakeDisk: concatenate, DiskFormat: 7})
			if err != nil {
				t.Fatal(err)
			}
			file := writeFile(t, filepath.Join(t.TempDir(), "root.tar"), tarOf(t, "etc/x", "x"))
			if _, err := s.Import(t.Context(), "local/other:1", file, nil); err != nil {
				t.Fatal(err)
			}
			newer, err := s.Disk(t.Context(), img, 1<<20, nil)
			if err != nil || newer == older {
				t.Fatalf("the disk is %s, %v", newer, err)
			}
			list, err := s.List(t.Context())
			if err != nil || !slices.ContainsFunc(list, func(e Entry) bool { return e.Disks.Size == 1<<20 }) {
				t.Errorf("the list is %+v, %v; want it to count only the usable disk", list, err)
			}
			if err := free(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			wantThere(t, map[string]bool{older: false, oldest: false, newer: true})
		})
	}
}

func TestPruneOfDisksKeepsImages(t *testing.T) {
	s, dir, img := imported(t)
	disk, err := s.Disk(t.Context(), img, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Prune(t.Context(), PruneOptions{Disks: true})
	if err != nil || p.Files != 1 || p.Freed == 0 || len(p.Images) != 0 {
		t.Errorf("pruned %+v, %v", p, err)
	}
	wantThere(t, map[string]bool{disk: false})
	wantDisk(t, s, img, content(t, sample(t, "x")))
	wantNothingHalf(t, dir)
}

func TestPruneRemovesTheSelectedImages(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	s := newStore(t, dir)
	shared := layerOf(t, "etc/os-release", "shared")
	images := map[string]v1.Image{}
	disks := map[string]string{}
	for _, name := range []string{"stays", "goes"} {
		images[name] = imageOf(t, amd64, shared, layerOf(t, "name", name))
		_, disks[name] = pulled(t, s, r.push(t, name+":1", images[name]))
	}
	goes := func(es []Entry) ([]Entry, error) {
		return slices.DeleteFunc(es, func(e Entry) bool { return e.Digest != digestOf(t, images["goes"]).String() }), nil
	}
	p, err := s.Prune(t.Context(), PruneOptions{Unwanted: goes})
	if err != nil || len(p.Images) != 1 {
		t.Fatalf("pruned %+v, %v", p, err)
	}
	want := map[string]bool{disks["stays"]: true, disks["goes"]: false}
	for _, f := range blobsOfImage(t, dir, images["goes"]) {
		want[f] = false
	}
	for _, f := range blobsOfImage(t, dir, images["stays"]) {
		want[f] = true
	}
	wantThere(t, want)

	refused := errors.New("no")
	if _, err := s.Prune(t.Context(), PruneOptions{Unwanted: func([]Entry) ([]Entry, error) { return nil, refused }}); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	wantThere(t, want)
}

func TestPruneWaitsUntilTheStoreIsReleased(t *testing.T) {
	s, dir, img := imported(t)
	release, err := newStore(t, dir).Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The holder and others can use the store.
	if _, err := s.Disk(t.Context(), img, 1<<20, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Prune(ctx, PruneOptions{Disks: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the store is held: %v", err)
	}
	release()
	if p, err := s.Prune(t.Context(), PruneOptions{Disks: true}); err != nil || p.Files != 1 {
		t.Errorf("pruned %+v, %v", p, err)
	}
}

func TestAFullDiskCanBePruned(t *testing.T) {
	dir := smallDisk(t, "1m")
	s := newStore(t, dir)
	file := writeFile(t, filepath.Join(t.TempDir(), "root.tar"), tarOf(t, "random", noise(300_000)))
	if _, err := s.Import(t.Context(), "local/goes:1", file, nil); err != nil {
		t.Fatal(err)
	}
	fill(t, dir)
	p, err := s.Remove(t.Context(), "local/goes:1")
	if err != nil || p.Freed < 300_000 {
		t.Fatalf("freed %+v, %v", p, err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left is %v, %v", list, err)
	}
}

func TestUsageCountsSharedBlobsOnce(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	s := newStore(t, dir)
	shared := layerOf(t, "random", noise(100_000))
	one := imageOf(t, amd64, shared, layerOf(t, "bin/one", noise(20_000)))
	two := imageOf(t, amd64, shared, layerOf(t, "bin/two", noise(40_000)))
	imgOne, _ := pulled(t, s, r.push(t, "one:1", one))
	imgTwo, _ := pulled(t, s, r.push(t, "two:1", two))
	stale := writeFile(t, filepath.Join(dir, "disks", "0123-v0-1.ext4"), []byte("x"))

	u, err := s.Usage(t.Context(), func(digest string) bool { return digest == imgOne.Digest })
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Images) != 2 || u.Images[0].Digest != imgOne.Digest || u.Images[1].Digest != imgTwo.Digest {
		t.Fatalf("images are %+v", u.Images)
	}
	first, second := u.Images[0], u.Images[1]
	both := int64(len(blobBytes(t, layersOf(t, one)[0])))
	manifests := first.Blobs.Size - imgOne.Size + second.Blobs.Size - imgTwo.Size
	if want := imgOne.Size + imgTwo.Size - both + manifests; u.Blobs.Size != want {
		t.Errorf("all blobs have %d bytes, want %d", u.Blobs.Size, want)
	}
	if first.Own >= first.Blobs.Real || first.Own < 20_000 || second.Own < 40_000 {
		t.Errorf("the images' own bytes are %d of %d and %d of %d", first.Own, first.Blobs.Real, second.Own, second.Blobs.Real)
	}
	if u.Reclaimable != second.Own || u.Nameless != (space.Space{}) || u.Parts != (space.Space{}) {
		t.Errorf("%d bytes are reclaimable, want the unused image's %d: %+v", u.Reclaimable, second.Own, u)
	}
	var names []string
	for _, d := range u.Disks {
		names = append(names, d.Reference)
		if d.Stale != (d.Reference == "") || d.Real == 0 {
			t.Errorf("disk %+v", d)
		}
	}
	slices.Sort(names)
	if want := []string{"", imgOne.Reference, imgTwo.Reference}; !slices.Equal(names, want) {
		t.Errorf("disks are of %q, want %q", names, want)
	}
	wantThere(t, map[string]bool{stale: true})
}
