package ext4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"
)

// TestSameInputGivesSameBytes also covers a single processor and layers that arrive in
// other pieces.
func TestSameInputGivesSameBytes(t *testing.T) {
	upper := tarOf(whiteout("many"), file("shreds5", "x"), whiteout("deep"), file("n", noise(500000)))
	awkward := awkwardTars()
	whole := func(r io.Reader) io.Reader { return r }
	hash := func(pieces func(io.Reader) io.Reader) string {
		var layers []Layer
		for _, b := range [][]byte{awkward[0], awkward[1], upper} {
			layers = append(layers, Layer{"l", fromReader(pieces(bytes.NewReader(b)), nil)})
		}
		disk := filepath.Join(t.TempDir(), "disk")
		if err := writeDisk(disk, 256*mib, layers...); err != nil {
			t.Fatal(err)
		}
		return sumOf(t, disk)
	}
	want := hash(whole)
	tests := map[string]struct {
		processors int
		pieces     func(io.Reader) io.Reader
	}{
		"many processors":      {8, whole},
		"one processor":        {1, whole},
		"odd pieces":           {2, func(r io.Reader) io.Reader { return oddReader{r} }},
		"data with the ending": {2, iotest.DataErrReader},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(tt.processors))
			if got := hash(tt.pieces); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// oddReader returns at most 4099 bytes at a time, a prime number.
type oddReader struct{ io.Reader }

func (r oddReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 4099)]) }

func sumOf(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestLargeFilesTakeNoMoreMemory counts everything that is allocated for a file, freed
// or not.
func TestLargeFilesTakeNoMoreMemory(t *testing.T) {
	allocated := func(size int64) uint64 {
		data := []byte(noise(mib))
		endless := readerFunc(func(p []byte) (int, error) { return copy(p, data), nil })
		end := bytes.NewReader(make([]byte, 1024))
		layer := Layer{"l", fromReader(io.MultiReader(bytes.NewReader(hugeHeader(t, size)), io.LimitReader(endless, size), end), nil)}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Write(context.Background(), &fullDisk{1 << 50}, []Layer{layer}, Options{Size: 8 << 30, Digest: "d"}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := allocated(mib), allocated(512*mib)
	if large > small+2*mib {
		t.Errorf("a file of 512 MiB takes %d bytes of memory, one of 1 MiB %d", large, small)
	}
}
