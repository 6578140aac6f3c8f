package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"github.com/stead-vm/stead/provider/transfer"
)

// large returns an image whose layers have more chunks than fit in memory.
func large(t testing.TB) v1.Image {
	t.Helper()
	word := noise(4099) // does not divide a chunk, so that all chunks differ
	text := strings.Repeat(word, 3*chunks*chunkSize/2/len(word))
	return imageOf(t, amd64,
		layerOf(t, "below", "small"), layerOf(t, "large", text), layerOf(t, "larger", text+word), layerOf(t, "above", "x"))
}

// unpackerOf returns an unpacker of an image's layers, up to limit at once.
func unpackerOf(ctx context.Context, t testing.TB, img v1.Image, limit int) *unpacker {
	t.Helper()
	s, err := New(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), "oci:"+layoutOf(t, map[string]v1.Image{"": img}), amd64, nil); err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var checks []*check
	for i, d := range m.Layers {
		checks = append(checks, &check{
			store: s, blob: d, want: c.RootFS.DiffIDs[i], meter: &transfer.Meter{Report: transfer.Progress(nil).Serial()},
		})
	}
	u := newUnpacker(ctx, checks, s.tmpDir())
	u.limit = limit
	t.Cleanup(u.close)
	return u
}

// concatenation reads all layers in order and checks that they were verified.
func concatenation(t testing.TB, u *unpacker) []byte {
	t.Helper()
	var all bytes.Buffer
	for i, k := range u.layers {
		r, err := u.open(i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&all, r); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err := k.result(true); err != nil {
			t.Error(err)
		}
	}
	return all.Bytes()
}

// wait waits for a state of u.
func wait(u *unpacker, state func() bool) {
	for {
		u.mu.Lock()
		ok := state()
		u.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLayersDoNotDependOnParallelism(t *testing.T) {
	img := large(t)
	want := content(t, img)
	for limit := range 5 {
		if got := concatenation(t, unpackerOf(t.Context(), t, img, limit+1)); !bytes.Equal(got, want) {
			t.Errorf("%d at once: %d bytes are not the %d of the layers", limit+1, len(got), len(want))
		}
	}
}

func TestChunksUnpackedAheadGoToTheSpillFile(t *testing.T) {
	img := large(t)
	u := unpackerOf(t.Context(), t, img, 2)
	if _, err := u.open(0); err != nil {
		t.Fatal(err)
	}
	// Nothing has been read yet, and memory alone would not have been enough.
	wait(u, func() bool { return u.running == 0 && len(u.early) == 3 })
	wantNothingHalf(t, u.layers[0].store.dir)
	if !bytes.Equal(concatenation(t, u), content(t, img)) {
		t.Error("the layers differ from the image's")
	}
	if u.aside.end == 0 || len(u.aside.holes)*chunkSize != int(u.aside.end) {
		t.Errorf("%d of %d bytes are free again", len(u.aside.holes)*chunkSize, u.aside.end)
	}
}

func TestChunksStayInMemoryWithoutASpillFile(t *testing.T) {
	unwritable, err := os.Open(writeFile(t, filepath.Join(t.TempDir(), "file"), nil))
	if err != nil {
		t.Fatal(err)
	}
	img := large(t)
	want := content(t, img)
	for name, aside := range map[string]*spill{
		"no file can be made":  {dir: filepath.Join(t.TempDir(), "missing")},
		"it cannot be written": {file: unwritable, limit: maxSpill},
		"there is no space":    {file: unwritable},
	} {
		t.Run(name, func(t *testing.T) {
			u := unpackerOf(t.Context(), t, img, 2)
			u.aside = aside
			if _, err := u.open(0); err != nil {
				t.Fatal(err)
			}
			wait(u, func() bool {
				return len(u.early) == 2 && len(u.early[1].ready) == chunks && len(u.early[2].ready) == chunks
			})
			if !bytes.Equal(concatenation(t, u), want) {
				t.Error("the layers differ from the image's")
			}
		})
	}
}

func TestLayersMayBeReadInAnyOrderAndAgain(t *testing.T) {
	img := large(t)
	u := unpackerOf(t.Context(), t, img, 2)
	for _, i := range []int{2, 1, 1, 3, 0, 2} {
		r, err := u.open(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("layer %d: %v", i, err)
		}
	}
}

func TestABadLayerIsNotReportedBeforeItsTurn(t *testing.T) {
	img := large(t)
	s := newStore(t, t.TempDir())
	stored, err := s.Pull(t.Context(), "oci:"+layoutOf(t, map[string]v1.Image{"": img}), amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, blobFile(s.dir, digestOf(t, layersOf(t, img)[1])))
	broken := errors.New("the writer has failed")
	s.makeDisk = func(_ context.Context, _ *os.File, layers []Layer, _ int64, _ string) error {
		r, err := layers[0].Open()
		return errors.Join(err, r.Close(), broken)
	}
	if _, err := s.Disk(t.Context(), stored, 1<<20, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAWriterThatStopsEarlyLeavesNoGoroutines(t *testing.T) {
	s := newStore(t, t.TempDir())
	stored, err := s.Pull(t.Context(), "oci:"+layoutOf(t, map[string]v1.Image{"": large(t)}), amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	s.makeDisk = func(_ context.Context, _ *os.File, layers []Layer, _ int64, _ string) error {
		for _, l := range layers {
			r, err := l.Open()
			if err != nil {
				return err
			}
			if _, err := r.Read(make([]byte, 1)); err != nil {
				return err
			}
		}
		return enough
	}
	if _, err := s.Disk(t.Context(), stored, 1<<20, nil); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stacks.String(), "(*layerReader)") {
		t.Errorf("a goroutine still reads:\n%s", &stacks)
	}
}

func TestACanceledReadingSaysWhy(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	u := unpackerOf(ctx, t, large(t), 2)
	r, err := u.open(1)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the user has had enough")
	cancel(why)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if err := r.Close(); !errors.Is(err, why) {
		t.Errorf("closing it says %v", err)
	}
}

func TestOneZstdDecoderServesOneLayerAfterTheOther(t *testing.T) {
	var pool zstdPool
	for _, text := range []string{"first", "second", ""} {
		var packed bytes.Buffer
		zw, err := zstd.NewWriter(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(zw, text); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
		zr, err := pool.open(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(zr); err != nil || string(got) != text {
			t.Errorf("%q comes out as %q, %v", text, got, err)
		}
		if err := zr.Close(); err != nil || len(pool.idle) != 1 {
			t.Errorf("%d decoders are idle, %v; want one", len(pool.idle), err)
		}
	}
}

func TestALayerThatOnlyBeginsLikeGzipIsRejected(t *testing.T) {
	img := sample(t, "x")
	s := newStore(t, t.TempDir())
	stored, err := s.Pull(t.Context(), "oci:"+layoutOf(t, map[string]v1.Image{"": img}), amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	bad := digestOf(t, layersOf(t, img)[1])
	writeFile(t, blobFile(s.dir, bad), []byte{0x1f, 0x8b, 0xff})
	_, err = s.Disk(t.Context(), stored, 1<<20, nil)
	wantError(t, err, "pull or import the image again", bad.String())
}
