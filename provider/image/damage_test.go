package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/stead-vm/stead/provider/ext4"
)

const smallestDisk = ext4.MinSize

// ext4Disk is the MakeDisk that is used outside of tests.
func ext4Disk(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
	merged := make([]ext4.Layer, len(layers))
	for i, l := range layers {
		merged[i] = ext4.Layer(l)
	}
	_, err := ext4.Write(ctx, f, merged, ext4.Options{Size: size, Digest: digest})
	return err
}

// blobLayer is a layer of arbitrary bytes with the correct digests.
type blobLayer struct {
	v1.Layer
	diff v1.Hash
}

func newBlobLayer(tb testing.TB, b []byte) blobLayer {
	tb.Helper()
	h, err := v1.Hasher("sha256")
	if err != nil {
		tb.Fatal(err)
	}
	if zr, _, err := decompress(bytes.NewReader(b)); err == nil {
		_, _ = io.Copy(h, io.LimitReader(zr, 8<<30)) // up to where it is damaged
		_ = zr.Close()
	}
	return blobLayer{static.NewLayer(b, types.OCILayer), v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", h.Sum(nil))}}
}

func (l blobLayer) DiffID() (v1.Hash, error) { return l.diff, nil }

// diskOf pulls an image with the layer on top and creates its disk.
func diskOf(ctx context.Context, tb testing.TB, make MakeDisk, l v1.Layer) (string, error) {
	tb.Helper()
	s, err := New(Options{Dir: tb.TempDir(), MakeDisk: make})
	if err != nil {
		tb.Fatal(err)
	}
	layout := layoutOf(tb, map[string]v1.Image{"": imageOf(tb, amd64, layerOf(tb, "a/b", "lower", "etc/passwd", "x"), l)})
	img, err := s.Pull(tb.Context(), "oci:"+layout, amd64, nil)
	if err != nil {
		tb.Fatalf("pull: %v", err)
	}
	return s.Disk(ctx, img, smallestDisk, nil)
}

// judge accepts an error that names the layer, or a disk without errors.
func judge(tb testing.TB, l v1.Layer, disk string, err error) {
	tb.Helper()
	var ns *ext4.NoSpaceError
	switch {
	case err == nil:
		if out, err := exec.Command(tool(tb, "e2fsck"), "-fn", disk).CombinedOutput(); err != nil {
			tb.Errorf("e2fsck: %v\n%s", err, out)
		}
	case errors.As(err, &ns), errors.Is(err, context.DeadlineExceeded):
	case !strings.Contains(err.Error(), digestOf(tb, l).String()):
		tb.Errorf("the error does not name the layer: %v", err)
	}
}

// tool finds a program in directories that distributions keep out of users' PATH.
func tool(tb testing.TB, name string) string {
	tb.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	tb.Skipf("needs %s; .ci/packages installs it", name)
	return ""
}

// packings are the compressions of layers.
var packings = map[string]func(testing.TB, []byte) []byte{
	"plain": func(_ testing.TB, raw []byte) []byte { return bytes.Clone(raw) },
	"gzip":  gzipOf,
	"zstd":  zstdOf,
}

func gzipOf(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(raw, nil)
}

// upperTar is a small layer with different kinds of entries.
func upperTar(tb testing.TB) []byte {
	tb.Helper()
	return tarOf(tb, "a/.wh.b", "", "a/c", noise(5000), "d", strings.Repeat("zero\x00", 3000), "etc/passwd", "y")
}

// FuzzLayer uses arbitrary bytes as a layer from a registry.
func FuzzLayer(f *testing.F) {
	raw := upperTar(f)
	for _, pack := range packings {
		packed := pack(f, raw)
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
		f.Add(append(packed, packed...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// A few bytes can unpack to terabytes of zeros, which only take time to read.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		l := newBlobLayer(t, b)
		disk, err := diskOf(ctx, t, ext4Disk, l)
		judge(t, l, disk, err)
	})
}

// TestDamagedLayersGiveCleanDisksOrErrors changes bytes before or after compression, and
// truncates, repeats and omits pieces; always the same ones.
func TestDamagedLayersGiveCleanDisksOrErrors(t *testing.T) {
	for name, pack := range packings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(len(name))))
			fine := 0
			for range 40 {
				raw := upperTar(t)
				if r.IntN(3) == 0 {
					raw = damage(r, raw)
				}
				b := pack(t, raw)
				if r.IntN(3) > 0 {
					b = damage(r, b)
				}
				l := newBlobLayer(t, b)
				disk, err := diskOf(t.Context(), t, ext4Disk, l)
				judge(t, l, disk, err)
				if err == nil {
					fine++
				}
			}
			if fine == 0 || fine == 40 {
				t.Errorf("%d of 40 layers have become disks: no useful mix", fine)
			}
		})
	}
}

func damage(r *rand.Rand, b []byte) []byte {
	at, n := r.IntN(len(b)), 1+r.IntN(600)
	end := min(at+n, len(b))
	switch r.IntN(5) {
	case 0:
		return b[:at]
	case 1:
		return append(b[:at:at], b[end:]...)
	case 2:
		return append(b[:end:end], b[at:]...)
	case 3:
		for i := at; i < end; i++ {
			b[i] = byte(r.Uint32())
		}
	default:
		b[at] ^= 1 << r.IntN(8)
	}
	return b
}

// TestADecompressionBombDoesNotFillTheDisk pulls layers of a few KiB that unpack to much
// more.
func TestADecompressionBombDoesNotFillTheDisk(t *testing.T) {
	const piece, pieces = 32 << 20, 3
	head := hugeHeader(t, piece*pieces)
	tests := map[string]struct {
		head, unit []byte
		times      int
		fits       bool
	}{
		"a file of data":   {head, bytes.Repeat([]byte("x"), piece), pieces, false},
		"a file of zeros":  {head, make([]byte, piece), pieces, true},
		"empty files":      {nil, emptyFiles(t, 40_000), 1, false},
		"deep directories": {nil, deepFolders(t, 3), 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			packed := gzipOf(t, tt.head)
			for unit := gzipOf(t, tt.unit); tt.times > 0; tt.times-- {
				packed = append(packed, unit...)
			}
			var taken int64
			l := newBlobLayer(t, packed)
			disk, err := diskOf(t.Context(), t, func(ctx context.Context, f *os.File, layers []Layer, size int64, digest string) error {
				err := ext4Disk(ctx, f, layers, size, digest)
				taken = occupiedBy(t, f)
				return err
			}, l)
			var ns *ext4.NoSpaceError
			if !tt.fits && !errors.As(err, &ns) {
				t.Errorf("got %v, want a NoSpaceError", err)
			}
			judge(t, l, disk, err)
			if taken > smallestDisk {
				t.Errorf("%d bytes of layer took %d bytes of the host's disk", len(packed), taken)
			}
		})
	}
}

func occupiedBy(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func hugeHeader(tb testing.TB, size int64) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "bomb", Mode: 0o644, Size: size, Format: tar.FormatGNU}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func emptyFiles(tb testing.TB, n int) []byte {
	tb.Helper()
	files := make([]string, 2*n)
	for i := range n {
		files[2*i] = fmt.Sprintf("many/%d", i)
	}
	return tarOf(tb, files...)
}

// deepFolders returns a tar of n paths of 200,000 directories each.
func deepFolders(tb testing.TB, n int) []byte {
	tb.Helper()
	files := make([]string, 2*n)
	for i := range n {
		files[2*i] = fmt.Sprintf("%d/%sbottom", i, strings.Repeat("d/", 200_000))
	}
	return tarOf(tb, files...)
}
