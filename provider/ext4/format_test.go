package ext4

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestEverySizeIsClean covers usual sizes and those around the borders of groups
// and flex groups, where a last group may be too small to exist.
func TestEverySizeIsClean(t *testing.T) {
	const group, gib = blocksPerGroup * blockSize, 1 << 30
	sizes := []int64{
		MinSize, 256 * mib, gib / 2, 4 * gib, 64 * gib, 512 * gib,
		group - blockSize, group, group + blockSize, group + 52*blockSize, group + 53*blockSize, 2*group + 60*blockSize,
		16*group - blockSize, 16 * group, 16*group + blockSize, 16*group + 562*blockSize, 16*group + 564*blockSize,
		16*group + 600*blockSize, 17*group + 50*blockSize, 25*group + 100*blockSize, 49*group + 3*mib,
	}
	layer := layerOf(dir("a"), file("a/b", "content"))
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			disk := makeDisk(t, size, layer)
			info, err := os.Stat(disk)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() != size {
				t.Errorf("the file has %d bytes, want %d", info.Size(), size)
			}
		})
	}
}

// awkward is an image in two layers of what is hard to store. It is created once.
func awkward() []Layer {
	tars := awkwardTars()
	return []Layer{layerFrom("lower", tars[0]), layerFrom("upper", tars[1])}
}

var awkwardTars = sync.OnceValue(func() [2][]byte {
	lower, upper := awkwardEntries()
	return [2][]byte{tarOf(lower...), tarOf(upper...)}
})

func awkwardEntries() (lower, upper []entry) {
	date := func(year int) time.Time { return time.Date(year, 7, 1, 1, 2, 3, 123456789, time.UTC) }
	name255 := strings.Repeat("ü", 127) + "x"
	lower = []entry{
		folderAt("./", 0o755).at(date(2020)),
		folderAt("tmp", 0o1777).owned(3e9, 4e9).at(date(2039)),
		file("suid", "x").owned(3e9, 1<<32-2).at(date(1950)),
		file("far", "x").at(date(2440)),
		file("empty", ""),
		file(name255, "255"),
		symlink("l59", strings.Repeat("5", 59)), symlink("l60", strings.Repeat("6", 60)), symlink("l3000", strings.Repeat("a/", 1500)),
		device("null", 1, 3), device("big", 259, 70000),
		{Header: tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Mode: 0o660, Devmajor: 8, Devminor: 1}},
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600}},
		hardlink("empty2", "empty"), hardlink("null2", "null"),
		file("caps", "x").with("security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		file("acl", "x").mode(0o777).with("system.posix_acl_access", acl(aclUserObj, aclUser, aclGroupObj, aclMask, aclOther)),
		dir("acls").with("system.posix_acl_default", acl(aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther), "user.a", "b"),
		file("attrs", "x").with("user.small", "s", "user.large", strings.Repeat("L", 3000), "trusted.t", strings.Repeat("t", 77),
			"user.empty", "", "user."+strings.Repeat("n", 200), "long name", "com.apple.provenance", "not Linux's"),
		symlink("attrlink", "x").with("trusted.l", "1", "user.never", "kept"),
	}
	for i := range 12000 {
		lower = append(lower, file(fmt.Sprintf("many/file-%d-\xc3\xa4", i), ""))
	}
	for i := range 400 {
		lower = append(lower, file(fmt.Sprintf("long-names/%s%03d", strings.Repeat("n", 252), i), ""))
	}
	lower = append(lower, file(strings.Repeat("deep/", 300)+"bottom", "300"))
	upper = []entry{
		file("shreds5", shreds(5)), file("shreds1400", shreds(1400)), file("zeros", strings.Repeat("\x00", 1<<20)+"x"),
		file("random", noise(3<<20+1)), hardlink("many/again", "many/file-7-\xc3\xa4"),
	}
	return lower, upper
}

// shreds returns a file of n extents with holes between them and at its end.
func shreds(n int) string {
	piece := strings.Repeat("\x00", holeSize) + strings.Repeat("s", holeSize)
	return strings.Repeat(piece, n) + strings.Repeat("\x00", holeSize)
}

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

func TestAwkwardFilesAreClean(t *testing.T) {
	t.Parallel()
	disk := makeDisk(t, 512*mib, awkward()...)
	got := debugfs(t, disk, "stat shreds1400", "stat many", "stat attrs", "htree_dump many")
	for _, want := range []string{"(ETB0)", "Flags: 0x81000", "user.large (3000)", "Indirect levels: 0"} {
		if !strings.Contains(got, want) {
			t.Errorf("debugfs does not show %q:\n%.2000s", want, got)
		}
	}
}

// sparseEntry returns a tar stream of one sparse file in GNU's old format, which the
// writer of the standard library does not support. Each piece of 4 KiB is at an offset.
func sparseEntry(tb testing.TB, name string, size int64, pieces map[int64]byte, offsets ...int64) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(offsets)) * 4096, Format: tar.FormatGNU}
	if err := w.WriteHeader(h); err != nil {
		tb.Fatal(err)
	}
	for _, off := range offsets {
		if _, err := w.Write(bytes.Repeat([]byte{pieces[off]}, 4096)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	out := b.Bytes()
	number := func(at int, v int64) {
		out[at] = 0x80 // base 256
		for i := 11; i > 3; i-- {
			out[at+i], v = byte(v), v>>8
		}
	}
	out[156] = tar.TypeGNUSparse
	for i, off := range offsets {
		number(386+24*i, off)
		number(386+24*i+12, 4096)
	}
	number(483, size)
	fixChecksum(out[:512])
	return out
}

// TestBlocksOfReplacedFilesAreReused stores more in total than the disk can hold.
func TestBlocksOfReplacedFilesAreReused(t *testing.T) {
	t.Parallel()
	var layers []Layer
	for i := range 8 {
		body := strings.Repeat(string(rune('a'+i)), 30*mib)
		layers = append(layers, layerOf(file("big", body), file(fmt.Sprintf("small%d", i), "x"), whiteout(fmt.Sprintf("small%d", i-1))))
	}
	disk := makeDisk(t, MinSize, layers...)
	got := listing(t, disk)
	if want := "file 0644 " + strings.Repeat("h", 30*mib); got["big"] != want || len(got) != 2 {
		t.Errorf("got %d files, big with %d bytes; want 2 and %d", len(got), len(got["big"]), len(want))
	}
}

func TestHolesTakeNoBlocks(t *testing.T) {
	disk := makeDisk(t, 64<<30, layerOf(file("zeros", strings.Repeat("\x00", 32*mib)), file("data", noise(mib))))
	out := debugfs(t, disk, "stat zeros")
	if !strings.Contains(out, "Blockcount: 0") {
		t.Errorf("zeros take blocks:\n%s", out)
	}
}

// TestRemovedFilesLeaveNothing compares an image whose upper layers remove files with an
// image that never had them.
func TestRemovedFilesLeaveNothing(t *testing.T) {
	t.Parallel()
	base := layerOf(file("keep", noise(mib)), dir("d"))
	var bulk []entry
	for i := range 500 {
		bulk = append(bulk, file(fmt.Sprintf("d/%d", i), noise(1+i*100)).with("user.a", strings.Repeat("x", 500)))
	}
	bulk = append(bulk, file("shreds", shreds(400)), hardlink("shreds2", "shreds"), symlink("l", strings.Repeat("t", 500)))
	removal := layerOf(dir("d"), opaque("d"), whiteout("shreds"), whiteout("shreds2"), file("l", ""), whiteout("l"))
	stats := func(layers ...Layer) Stats {
		s, err := Write(context.Background(), &fullDisk{1 << 50}, layers, Options{Size: 256 * mib, Digest: "d"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := stats(base, layerOf(file("l", "")))
	got := stats(base, layerOf(bulk...), removal)
	if got.Used != want.Used || got.Inodes != want.Inodes {
		t.Errorf("got %+v, want the inodes and the use of %+v", got, want)
	}
	if want.Inodes != 5 { // root, lost+found, keep, d, l
		t.Errorf("got %d inodes, want 5", want.Inodes)
	}
}
