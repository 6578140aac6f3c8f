package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/space"
)

// announcing makes the registry's image announce other sizes of its layers, and returns the
// reference of the changed manifest.
func announcing(t *testing.T, r *fakeRegistry, ref string, sizes ...int64) string {
	t.Helper()
	repo, tag, _ := strings.Cut(strings.TrimPrefix(ref, r.host+"/"), ":")
	res, err := http.Get("http://" + r.host + "/v2/" + repo + "/manifests/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || len(m.Layers) != len(sizes) {
		t.Fatalf("%s has %d layers: %v", ref, len(m.Layers), err)
	}
	for i, n := range sizes {
		m.Layers[i].Size = n
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", string(m.MediaType))
		w.Header().Set("Docker-Content-Digest", h.String())
		_, _ = w.Write(raw)
		return true
	})
	return ref
}

func TestAnImageThatDoesNotFitIsRefusedBeforeItIsFetched(t *testing.T) {
	free, err := space.Free(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, sizes := range map[string][]int64{
		"one huge layer":       {1 << 60, 10},
		"too large in sum":     {free/2 + 1<<30, free/2 + 1<<30},
		"a sum that overflows": {math.MaxInt64, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRegistry(t), t.TempDir()
			layers := []v1.Layer{layerOf(t, "a", "1"), layerOf(t, "b", "2")}
			ref := announcing(t, r, r.push(t, "sample:1", imageOf(t, amd64, layers...)), sizes...)
			img, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil)
			var full *space.NoRoomError
			if !errors.As(err, &full) || full.Dir != dir || !strings.Contains(err.Error(), " needs ") || !strings.Contains(err.Error(), " free") || full.Remedy() == "" {
				t.Fatalf("Pull = %v, %v", img, err)
			}
			for _, l := range layers {
				h, _ := l.Digest()
				if n := r.bytesServed(h); n > 0 {
					t.Errorf("%d bytes of the layer %s were fetched", n, h)
				}
			}
			wantNothingHalf(t, dir)
			if left := partials(t, dir); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}

func TestABlobLongerThanAnnouncedIsCutOff(t *testing.T) {
	r, dir := newRegistry(t), t.TempDir()
	layer := layerOf(t, "a", strings.Repeat("x", 1<<20))
	ref := announcing(t, r, r.push(t, "sample:1", imageOf(t, amd64, layer)), 100)
	_, err := newStore(t, dir).Pull(t.Context(), ref, amd64, nil)
	if err == nil || !strings.Contains(err.Error(), "longer than the expected 100 bytes") {
		t.Errorf("Pull = %v", err)
	}
	for _, left := range partials(t, dir) {
		if info, err := os.Stat(left); err == nil && info.Size() > 101 {
			t.Errorf("%s has %d bytes", left, info.Size())
		}
	}
}

func partials(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "partial", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestAManifestThatIsTooLargeIsRefused(t *testing.T) {
	r := newRegistry(t)
	ref := r.push(t, "sample:1", sample(t, "x"))
	r.misbehave(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = w.Write(bytes.Repeat([]byte(" "), maxDocument+1))
		return true
	})
	if _, err := newStore(t, t.TempDir()).Pull(t.Context(), ref, amd64, nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Pull = %v", err)
	}
}
