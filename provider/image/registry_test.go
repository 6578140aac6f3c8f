package image

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/transfer"
)

func TestPullStoresAnImage(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	want := sample(t, "one")
	ref := r.push(t, "team/sample:1", want)
	s := newStore(t, dir)

	var events []transfer.Event
	img, err := s.Pull(t.Context(), ref, amd64, func(e transfer.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if img.Digest != digestOf(t, want).String() || img.Reference != ref || img.Platform != amd64 {
		t.Errorf("pulled %+v", img)
	}
	if img.Config.StopSignal != "SIGRTMIN+3" || img.Config.Env[0] != "LANG=C.UTF-8" || img.Created.Year() != 2023 {
		t.Errorf("config is %+v, created %v", img.Config, img.Created)
	}
	wantNothingHalf(t, dir)
	wantDisk(t, s, img, content(t, want))

	done := 0
	for _, e := range events {
		if e.Done && e.Action == transfer.ActionPull && e.Current == e.Total {
			done++
		}
	}
	if done != 5 { // three layers, config, manifest
		t.Errorf("%d blobs were reported as done, want 5: %+v", done, events)
	}
}

func TestAStoredTagStaysUntilAPullIsRequested(t *testing.T) {
	r := newRegistry(t)
	first, second := sample(t, "first"), sample(t, "second")
	ref := r.push(t, "sample:latest", first)
	s := newStore(t, t.TempDir())
	if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	r.push(t, "sample:latest", second)
	before := r.asked("GET", "/manifests/latest")

	img, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil || img.Digest != digestOf(t, first).String() {
		t.Fatalf("without pull: %v, %v; want the first image", img.Digest, err)
	}
	if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	if n := r.asked("GET", "/manifests/latest"); n != before {
		t.Errorf("the registry was asked %d times for what the store has", n-before)
	}

	img, err = s.Resolve(t.Context(), ref, amd64, true)
	if err != nil || img.Digest != digestOf(t, second).String() {
		t.Fatalf("with pull: %v, %v; want the second image", img.Digest, err)
	}
	if img, _ = s.Resolve(t.Context(), ref, amd64, false); img.Digest != digestOf(t, first).String() {
		t.Error("Resolve stored something")
	}
	asked := Image{Reference: ref, Digest: digestOf(t, second).String(), Platform: amd64}
	if got, err := s.Fetch(t.Context(), asked, nil); err != nil || got.Config.StopSignal != "SIGRTMIN+3" {
		t.Fatalf("fetched %+v, %v", got, err)
	}
	if img, _ = s.Resolve(t.Context(), ref, amd64, false); img.Digest != digestOf(t, second).String() {
		t.Error("Fetch did not update the tag")
	}
}

func TestFetchUsesTheResolvedDigestAfterTheTagHasMoved(t *testing.T) {
	r := newRegistry(t)
	planned := sample(t, "planned")
	ref := r.push(t, "sample:latest", planned)
	s := newStore(t, t.TempDir())
	img, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	r.push(t, "sample:latest", sample(t, "moved"))
	if _, err := s.Fetch(t.Context(), img, nil); err != nil {
		t.Fatal(err)
	}
	wantDisk(t, s, img, content(t, planned))
}

func TestADigestIsPulledOnlyOnce(t *testing.T) {
	r := newRegistry(t)
	want := sample(t, "fixed")
	r.push(t, "sample:1", want)
	ref := r.host + "/sample@" + digestOf(t, want).String()
	s := newStore(t, t.TempDir())
	if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	r.misbehave(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	if _, err := s.Resolve(t.Context(), ref, amd64, true); err != nil {
		t.Error(err)
	}
}

func TestTheImageOfThePlatformIsChosen(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "multi:1", multiArch(t, platforms("linux/arm/v7", "linux/arm64/v8", "linux/amd64", "linux/riscv64")...))
	for word, want := range map[string]string{
		"linux/amd64": "linux/amd64", "linux/arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64",
		"linux/arm": "linux/arm/v7", "linux/arm/v7": "linux/arm/v7",
	} {
		img, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, platforms(word)[0], nil)
		if err != nil || img.Platform.String() != want {
			t.Errorf("%s: got %s, %v; want %s", word, img.Platform, err, want)
		}
	}
	_, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, platforms("linux/s390x")[0], nil)
	wantError(t, err, "built for linux/s390x", ref, "linux/arm/v7, linux/arm64, linux/amd64, linux/riscv64, not for linux/s390x")
}

func TestOneStoreKeepsSeveralPlatformsOfAName(t *testing.T) {
	r, s := newRegistry(t), newStore(t, t.TempDir())
	ref := r.push(t, "multi:1", multiArch(t, platforms("linux/arm64", "linux/amd64")...))
	for _, p := range platforms("linux/arm64", "linux/amd64") {
		if _, err := s.Pull(t.Context(), ref, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.misbehave(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	for _, p := range platforms("linux/arm64", "linux/amd64") {
		if img, err := s.Resolve(t.Context(), ref, p, false); err != nil || img.Platform != p {
			t.Errorf("got %s, %v; want %s", img.Platform, err, p)
		}
	}
}

func TestAnImageForAnotherPlatformIsRejected(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "foreign:1", imageOf(t, platforms("linux/arm64")[0], layerOf(t, "a", "b")))
	_, err := newStore(t, t.TempDir()).Resolve(t.Context(), ref, amd64, false)
	wantError(t, err, "linux/amd64", ref, "is for linux/arm64, not for linux/amd64")
}

func TestRegistryFailuresSayWhatToDo(t *testing.T) {
	answer := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
	}
	tests := map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		hint   string
		words  []string
	}{
		"401": {answer(http.StatusUnauthorized), "docker login 127.0.0.1:", []string{"denied access (401)"}},
		"403": {answer(http.StatusForbidden), "docker login 127.0.0.1:", []string{"denied access (403)"}},
		"404": {answer(http.StatusNotFound), "check the name and the tag", []string{"not found in registry"}},
		"429": {answer(http.StatusTooManyRequests), "wait a moment", []string{"(429)"}},
		"503": {answer(http.StatusServiceUnavailable), "this host can reach", []string{"(503)"}},
		"connection cut": {
			func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
			"this host can reach",
			[]string{"cannot reach"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, dir := newRegistry(t), t.TempDir()
			ref := r.push(t, "private:1", sample(t, "x"))
			r.misbehave(tt.answer)
			_, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil)
			wantError(t, err, tt.hint, append(tt.words, ref, r.host)...)
			wantNothingHalf(t, dir)
		})
	}
}

func TestARegistryThatIsDownIsNamed(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "sample:1", sample(t, "x"))
	s := newStore(t, t.TempDir())
	s.transport = refuse{}
	_, err := s.Pull(t.Context(), ref, amd64, nil)
	wantError(t, err, "this host can reach", "cannot reach registry "+r.host)
}

// refuse is a network that refuses all connections.
type refuse struct{}

func (refuse) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

func TestAFlakyRegistryIsRetried(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	ref := r.push(t, "sample:1", sample(t, "x"))
	var mu sync.Mutex
	failures := map[string]int{}
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if failures[q.URL.Path]++; failures[q.URL.Path] > 2 || q.URL.Path == "/v2/" {
			return false
		}
		if failures[q.URL.Path] == 2 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	if _, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	wantNothingHalf(t, dir)
}

func TestAStalledTransferTimesOut(t *testing.T) {
	r := newRegistry(t)
	img := sample(t, "x")
	ref := r.push(t, "sample:1", img)
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	layer := manifest.Layers[0]
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, layer.Digest.String()) {
			return false
		}
		_, _ = w.Write([]byte("a few bytes"))
		w.(http.Flusher).Flush()
		<-q.Context().Done()
		return true
	})
	s := newStore(t, t.TempDir())
	named, err := parseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	src, err := s.openRegistry(named)
	if err != nil {
		t.Fatal(err)
	}
	// Only the stalled transfer has a short limit.
	if _, err := src.roots(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.(*registrySource).retry.Stall = 20 * time.Millisecond
	wantError(t, s.explain(s.copyBlob(t.Context(), src, layer, func(transfer.Event) {})), "retry", layer.Digest.String(), "stopped sending data")
}

func TestABadBlobIsNamedAndNotKept(t *testing.T) {
	img := sample(t, "good")
	layer := layersOf(t, img)[1]
	whole := blobBytes(t, layer)
	tampered := append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1)
	for name, body := range map[string][]byte{
		"tampered with": tampered,
		"truncated":     whole[:len(whole)/2],
		"too long":      append(bytes.Clone(whole), "more"...),
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRegistry(t), t.TempDir()
			ref := r.push(t, "sample:1", img)
			digest := digestOf(t, layer)
			r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, digest.String()) {
					return false
				}
				_, _ = w.Write(body)
				return true
			})
			_, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil)
			wantError(t, err, "no part of the blob was kept", digest.String(), ref)
			if _, err := os.Stat(blobFile(dir, digest)); err == nil {
				t.Error("the blob was kept")
			}
			if _, err := os.Stat(partOf(dir, digest)); err == nil {
				t.Error("a part of it was kept")
			}
			wantNothingHalf(t, dir)
		})
	}
}

func TestAnInterruptedPullKeepsCompleteBlobs(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	img := sample(t, "x")
	ref := r.push(t, "sample:1", img)
	last := digestOf(t, layersOf(t, img)[2]).String()
	ctx, cancel := context.WithCancel(t.Context())
	r.misbehave(func(_ http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, last) {
			return false
		}
		// Ctrl-C after the other blobs are complete.
		for {
			blobs, _ := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
			if len(blobs) == 3 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-q.Context().Done()
		return true
	})
	if _, err := newStore(t, dir).Pull(ctx, ref, amd64, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	wantNothingHalf(t, dir)

	r.misbehave(nil)
	if _, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range layersOf(t, img)[:2] {
		if n := r.asked("GET", digestOf(t, l).String()); n != 1 {
			t.Errorf("a stored blob was fetched %d times", n)
		}
	}
}

func TestTwoPullsAtOnceShareTheWork(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	img := sample(t, "x")
	ref := r.push(t, "sample:1", img)
	var g errgroup.Group
	var kept atomic.Int32
	for range 4 {
		s := newStore(t, dir) // as another process would: locks are held by open files
		g.Go(func() error {
			_, err := s.Pull(t.Context(), ref, amd64, func(e transfer.Event) {
				if e.Action == transfer.ActionKeep {
					kept.Add(1)
				}
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, l := range layersOf(t, img) {
		if n := r.asked("GET", digestOf(t, l).String()); n != 1 {
			t.Errorf("layer %s was fetched %d times", digestOf(t, l), n)
		}
	}
	entries, err := newStore(t, dir).List(t.Context())
	if err != nil || len(entries) != 1 {
		t.Errorf("the store lists %d images (%v), want 1", len(entries), err)
	}
	wantNothingHalf(t, dir)
}

func TestAMissingBlobIsFetchedAgain(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	img := sample(t, "x")
	ref := r.push(t, "sample:1", img)
	s := newStore(t, dir)
	if _, err := s.Pull(t.Context(), ref, amd64, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blobFile(dir, digestOf(t, layersOf(t, img)[0]))); err != nil {
		t.Fatal(err)
	}
	got, err := s.Pull(t.Context(), ref, amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantDisk(t, s, got, content(t, img))
}
