package ext4

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHugeDirectories has a directory of 70,000 subdirectories, more than a link count can
// express, and one whose hash tree has two levels. The test looks up every name: listing
// a directory would not use the tree.
func TestHugeDirectories(t *testing.T) {
	t.Parallel()
	folders := map[string]int{"subfolders": 70000, "levels": 9000}
	var entries []entry
	for i := range folders["subfolders"] {
		entries = append(entries, dir(fmt.Sprintf("subfolders/%d", i)))
	}
	for i := range folders["levels"] {
		entries = append(entries, file(fmt.Sprintf("levels/%s%04d", strings.Repeat("n", 251), i), ""))
	}
	disk := makeDisk(t, 2048*mib, layerOf(entries...))
	got := debugfs(t, disk, "stat subfolders", "htree_dump levels")
	for _, want := range []string{"Links: 1 ", "Indirect levels: 1"} {
		if !strings.Contains(got, want) {
			t.Errorf("debugfs does not show %q:\n%.2000s", want, got)
		}
	}
	root := mount(t, disk, "ro")
	for folder, count := range folders {
		entries, err := os.ReadDir(filepath.Join(root, folder))
		if err != nil || len(entries) != count {
			t.Errorf("%s: got %d entries, %v; want %d", folder, len(entries), err, count)
		}
		for _, e := range entries {
			if _, err := e.Info(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHugeSparseFile exceeds 4 GiB, where 32 bits of size end, and 42.5 GiB, where
// other writers had bugs.
func TestHugeSparseFile(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	pieces := map[int64]byte{0: 'a', 5 * gib: 'b', 43 * gib: 'c'}
	disk := makeDisk(t, 256*mib, layerFrom("sparse", sparseEntry(t, "huge", 44*gib, pieces, 0, 5*gib, 43*gib)))
	out := debugfs(t, disk, "stat huge")
	if !strings.Contains(out, fmt.Sprintf("Size: %d", int64(44*gib))) || !strings.Contains(out, "Blockcount: 384") {
		t.Errorf("the file should have 44 GiB and three pieces of 64 KiB:\n%s", out)
	}
	f, err := os.Open(filepath.Join(mount(t, disk, "ro"), "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // before the disk is unmounted
	for off, want := range map[int64]byte{0: 'a', 4 * gib: 0, 5*gib + 4095: 'b', 42*gib + gib/2: 0, 43 * gib: 'c', 44*gib - 1: 0} {
		var b [1]byte
		if _, err := f.ReadAt(b[:], off); err != nil || b[0] != want {
			t.Errorf("at %d: got %q, %v; want %q", off, b, err, want)
		}
	}
}
