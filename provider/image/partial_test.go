package image

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/transfer"
)

// bigBlob pushes an image with a layer of some hundred KiB to a registry.
func bigBlob(t *testing.T) (r *fakeRegistry, ref string, img v1.Image, layer v1.Hash, size int64) {
	t.Helper()
	r = newRegistry(t)
	img = imageOf(t, amd64, layerOf(t, "random", noise(300_000)))
	l := layersOf(t, img)[0]
	return r, r.push(t, "big:1", img), img, digestOf(t, l), int64(len(blobBytes(t, l)))
}

// partOf returns the path of a partial blob.
func partOf(dir string, h v1.Hash) string { return filepath.Join(dir, "partial", h.Hex) }

// interrupted pulls with a new store until the registry ends the connection after n bytes
// of the blob.
func interrupted(t *testing.T, r *fakeRegistry, dir, ref string, layer v1.Hash, n int64) {
	t.Helper()
	r.cutAfter(layer, n, nil)
	s := newStore(t, dir)
	s.retry.Tries = 1
	_, err := s.Pull(t.Context(), ref, amd64, nil)
	wantError(t, err, "resumes where it stopped", layer.String())
	if info, err := os.Stat(partOf(dir, layer)); err != nil || info.Size() != n {
		t.Fatalf("kept is %v, %v; want %d bytes", info, err, n)
	}
	if _, err := os.Stat(blobFile(dir, layer)); err == nil {
		t.Fatal("an incomplete blob was stored")
	}
	if got := r.bytesServed(layer); got != n {
		t.Fatalf("the registry served %d bytes, want %d", got, n)
	}
	r.cutAfter(layer, -1, nil)
}

func TestAPullResumesInTheMiddleOfABlob(t *testing.T) {
	r, ref, img, layer, size := bigBlob(t)
	dir := t.TempDir()
	interrupted(t, r, dir, ref, layer, 100_000)

	s := newStore(t, dir)
	var first transfer.Event
	got, err := s.Pull(t.Context(), ref, amd64, func(e transfer.Event) {
		if first.ID == "" && e.ID == transfer.ShortID(layer.String()) {
			first = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.bytesServed(layer); n != size-100_000 {
		t.Errorf("%d bytes were fetched, want the missing %d", n, size-100_000)
	}
	if first.Current < 100_000 {
		t.Errorf("progress begins at %+v", first)
	}
	wantNothingHalf(t, dir)
	wantEmpty(t, dir, "partial")
	wantDisk(t, s, got, content(t, img))
}

func TestABlobResumesAfterACutConnection(t *testing.T) {
	r, ref, _, layer, size := bigBlob(t)
	r.cutAfter(layer, size/2+1, nil)
	if _, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	if n := r.bytesServed(layer); n != size {
		t.Errorf("%d bytes were fetched of %d", n, size)
	}
}

func TestARegistryWithoutRangesSendsTheWholeBlob(t *testing.T) {
	ignore := func(_ http.ResponseWriter, q *http.Request) bool {
		q.Header.Del("Range")
		return false
	}
	elsewhere := func(w http.ResponseWriter, q *http.Request) bool {
		if q.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			return true
		}
		return false
	}
	for name, tt := range map[string]struct {
		rangeless bool
		intercept func(http.ResponseWriter, *http.Request) bool
	}{
		"it answers 416":             {rangeless: true},
		"it answers 200":             {intercept: ignore},
		"it answers with other data": {intercept: elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			r, ref, img, layer, size := bigBlob(t)
			dir := t.TempDir()
			interrupted(t, r, dir, ref, layer, 100_000)
			r.refuseRanges(tt.rangeless)
			r.misbehave(tt.intercept)
			s := newStore(t, dir)
			got, err := s.Pull(t.Context(), ref, amd64, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n := r.bytesServed(layer); n != size {
				t.Errorf("%d bytes were fetched, want all %d", n, size)
			}
			wantNothingHalf(t, dir)
			wantEmpty(t, dir, "partial")
			wantDisk(t, s, got, content(t, img))
		})
	}
}

func TestABlobWithAWrongPartIsFetchedAgain(t *testing.T) {
	for name, spoil := range map[string]func(part []byte, size int64) []byte{
		"a byte has changed":                      func(p []byte, _ int64) []byte { p[17] ^= 1; return p },
		"it has the right length, but only zeros": func(_ []byte, size int64) []byte { return make([]byte, size) },
		"it is longer":                            func(_ []byte, size int64) []byte { return make([]byte, size+1) },
	} {
		t.Run(name, func(t *testing.T) {
			r, ref, img, layer, size := bigBlob(t)
			dir := t.TempDir()
			interrupted(t, r, dir, ref, layer, 100_000)
			part, err := os.ReadFile(partOf(dir, layer))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, partOf(dir, layer), spoil(part, size))
			s := newStore(t, dir)
			s.retry.Tries = 1
			got, err := s.Pull(t.Context(), ref, amd64, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantNothingHalf(t, dir)
			wantEmpty(t, dir, "partial")
			wantDisk(t, s, got, content(t, img))
		})
	}
}

func TestACompletePartNeedsNoRegistry(t *testing.T) {
	r, ref, img, layer, _ := bigBlob(t)
	dir := t.TempDir()
	interrupted(t, r, dir, ref, layer, 100_000)
	writeFile(t, partOf(dir, layer), blobBytes(t, layersOf(t, img)[0]))
	if _, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	if n := r.bytesServed(layer); n != 0 {
		t.Errorf("%d bytes of the complete part were fetched", n)
	}
	wantNothingHalf(t, dir)
	wantEmpty(t, dir, "partial")
}

func TestABlobThatIsStillWrongAfterAResumeFails(t *testing.T) {
	r, ref, _, layer, size := bigBlob(t)
	dir := t.TempDir()
	interrupted(t, r, dir, ref, layer, 100_000)
	wrong := bytes.Repeat([]byte("x"), int(size))
	var asked atomic.Int32
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, layer.String()) {
			return false
		}
		asked.Add(1)
		serveRange(w, q, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wrong) }))
		return true
	})
	_, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil)
	wantError(t, err, "no part of the blob was kept", layer.String(), "the content has the digest")
	if asked.Load() != 2 {
		t.Errorf("the blob was fetched %d times, want the rest and then once all of it", asked.Load())
	}
	wantNothingHalf(t, dir)
	wantEmpty(t, dir, "partial")
}

func TestAFullDiskKeepsNoPart(t *testing.T) {
	r, ref, _, layer, _ := bigBlob(t)
	dir := t.TempDir()
	interrupted(t, r, dir, ref, layer, 100_000)
	s := newStore(t, dir)
	s.transport = fullDisk{http.DefaultTransport, layer.String()}
	_, err := s.Pull(t.Context(), ref, amd64, nil)
	wantError(t, err, "stead image prune", "no space left in "+dir)
	wantNothingHalf(t, dir)
	wantEmpty(t, dir, "partial")
}

// fullDisk makes the write of a blob fail, as on a full disk.
type fullDisk struct {
	http.RoundTripper
	blob string
}

func (f fullDisk) RoundTrip(q *http.Request) (*http.Response, error) {
	res, err := f.RoundTripper.RoundTrip(q)
	if err == nil && strings.HasSuffix(q.URL.Path, f.blob) {
		res.Body = noRoom{}
	}
	return res, err
}

type noRoom struct{}

func (noRoom) Read([]byte) (int, error) { return 0, syscall.ENOSPC }
func (noRoom) Close() error             { return nil }

func TestAnInterruptKeepsTheReceivedPart(t *testing.T) {
	r, ref, _, layer, size := bigBlob(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	s := newStore(t, dir)
	// The registry stalls in the middle. Ctrl-C follows when that much is on disk.
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, layer.String()) {
			return false
		}
		r.cutAfter(layer, 100_000, nil)
		defer func() {
			_ = recover() // the cut
			await(t, func() bool {
				info, err := os.Stat(partOf(dir, layer))
				return err == nil && info.Size() == 100_000
			})
			cancel()
			<-q.Context().Done()
		}()
		serveRange(&countedWriter{ResponseWriter: w, registry: r, digest: layer.String()}, q, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, size))
		}))
		return true
	})
	if _, err := s.Pull(ctx, ref, amd64, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if info, err := os.Stat(partOf(dir, layer)); err != nil || info.Size() != 100_000 {
		t.Errorf("kept is %v, %v", info, err)
	}
}
