package ext4

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func mixture() []byte {
	return tarOf(
		dir("a"), file("a/b", strings.Repeat("content ", 300)).with("user.x", "y", "system.posix_acl_access", acl(aclUserObj, aclGroupObj, aclOther)),
		hardlink("c", "a/b"), symlink("d", "a"), file("d/e", "x").at(time.Unix(-5, 7)), whiteout("a/f"), opaque("a"), device("g", 8, 300),
		file(strings.Repeat("long/", 60)+"name", "y"))
}

// FuzzWrite uses the fuzzer's bytes as the upper of two layers.
func FuzzWrite(f *testing.F) {
	whole := mixture()
	f.Add(whole)
	f.Add(whole[:2000])
	f.Add(sparseEntry(f, "s", 1<<20, map[int64]byte{0: 'x'}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A few bytes can describe terabytes of sparse data, which only take time to read.
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		layers := []Layer{layerFrom("lower", whole), layerFrom("fuzzed", b)}
		_, err := Write(ctx, &fullDisk{1 << 60}, layers, Options{Size: MinSize, Digest: "d"})
		checkRefusal(t, err)
	})
}

// checkRefusal accepts success and the errors that a caller can act upon.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var le *LayerError
	var ns *NoSpaceError
	if err != nil && !errors.As(err, &le) && !errors.As(err, &ns) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("untyped error: %v", err)
	}
}

// TestDamagedLayersGiveCleanDisksOrErrors changes bytes, mostly in headers, and checks
// with e2fsck the disks of what is still accepted.
func TestDamagedLayersGiveCleanDisksOrErrors(t *testing.T) {
	whole := mixture()
	r := rand.New(rand.NewPCG(1, 2))
	disk := filepath.Join(t.TempDir(), "disk")
	for range 60 {
		b := append([]byte(nil), whole...)
		header := r.IntN(len(b)/512) * 512
		for range 1 + r.IntN(3) {
			b[header+r.IntN(512)] = byte(r.IntN(256))
		}
		fixChecksum(b[header : header+512])
		err := writeDisk(disk, MinSize, layerFrom("lower", whole), layerFrom("damaged", b))
		checkRefusal(t, err)
		if err == nil {
			fsck(t, disk)
		}
	}
}

// fixChecksum corrects the checksum of a damaged header, so that the damage gets through.
func fixChecksum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	for i := 5; i >= 0; i-- {
		header[148+i], sum = byte('0'+sum&7), sum>>3
	}
	header[154] = 0
}

// BenchmarkWrite creates a 64 GiB disk from a root of 20,000 small and a few large
// files. Compare its MB/s with BenchmarkCopy, which is "cat tar > file".
func BenchmarkWrite(b *testing.B) {
	root := syntheticRoot()
	b.SetBytes(int64(len(root)))
	b.ReportAllocs()
	for b.Loop() {
		if err := writeDisk(filepath.Join(b.TempDir(), "disk"), 64<<30, layerFrom("root", root)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCopy is the baseline for BenchmarkWrite.
func BenchmarkCopy(b *testing.B) {
	root := syntheticRoot()
	b.SetBytes(int64(len(root)))
	for b.Loop() {
		f, err := os.Create(filepath.Join(b.TempDir(), "copy"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(f, struct{ io.Reader }{strings.NewReader(string(root))}); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func syntheticRoot() []byte {
	body := noise(4 * mib)
	var entries []entry
	for i := range 20000 {
		size := 100 + i*i%16000
		entries = append(entries, file("usr/share/"+string(rune('a'+i%26))+"/"+strings.Repeat("n", 5+i%20)+string(rune('a'+i/1000))+strings.Repeat("x", i/26%40), body[i:i+size]))
	}
	for i := range 30 {
		entries = append(entries, file("usr/lib/large"+string(rune('a'+i)), body))
	}
	return tarOf(entries...)
}
