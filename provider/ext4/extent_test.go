package ext4

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesOfAnyNumberOfExtents sets extents without data: an extent tree needs three
// levels only from 4·340·340 extents on.
func TestFilesOfAnyNumberOfExtents(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 5, 4 * extentsPerBlock, 4*extentsPerBlock + 1, 4*extentsPerBlock*extentsPerBlock + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			disk := filepath.Join(t.TempDir(), "disk")
			f, err := os.Create(disk)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o := Options{Size: 8 << 30, Digest: "d"}
			geo, err := o.geometry()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(o.Size); err != nil {
				t.Fatal(err)
			}
			w := newWriter(f, geo, o)
			id := w.tree.add(node{mode: typeRegular | 0o644, size: int64(n) * 2 * blockSize})
			var l []extent
			for i := range n {
				l = append(l, extent{uint32(2 * i), 1, w.space.take(1).start})
			}
			w.tree.setExtents(id, l)
			w.tree.set(w.tree.root, "shredded", dirent{node: id})
			if err := errors.Join(w.writeAll(t.Context(), nil), w.out.close()); err != nil {
				t.Fatal(err)
			}
			fsck(t, disk)
			if got := strings.Count(debugfs(t, disk, "blocks shredded"), " "); got < n {
				t.Errorf("the file has %d blocks, want %d", got, n)
			}
		})
	}
}
