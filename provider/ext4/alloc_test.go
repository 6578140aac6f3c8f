package ext4

import (
	"testing"

	"pgregory.net/rapid"
)

// TestAllocatorBookkeeping compares the allocator with a plain map of owners: no block
// has two owners, structures of the file system stay untouched, and the bitmaps are
// correct.
func TestAllocatorBookkeeping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		geo := newGeometry(3*blocksPerGroup + 700)
		a := newAllocator(geo)
		owned := map[uint64]bool{}
		var held []run
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0, 1:
				n := rapid.Uint64Range(1, 20000).Draw(t, "blocks")
				r := a.take(n)
				if r.count == 0 || uint64(r.count) > n {
					t.Fatalf("take(%d) returned %d blocks", n, r.count)
				}
				for b := r.start; b < r.end(); b++ {
					group := b / blocksPerGroup
					if owned[b] || b%blocksPerGroup < uint64(geo.metaBlocks(uint32(group))) {
						t.Fatalf("block %d was already taken", b)
					}
					owned[b] = true
				}
				held = append(held, r)
			case 2:
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "release")
					for b := held[i].start; b < held[i].end(); b++ {
						delete(owned, b)
					}
					a.release(held[i])
					held = append(held[:i], held[i+1:]...)
				}
			case 3:
				a.settle()
			}
		}
		for group := range geo.groups {
			want := geo.groupBlocks(group) - geo.metaBlocks(group)
			for b := range owned {
				if b/blocksPerGroup == uint64(group) && b < geo.blocks {
					want--
				}
			}
			if got := freeBits(a.bitmap(group)); got != want {
				t.Fatalf("group %d has %d free blocks in its bitmap, want %d", group, got, want)
			}
		}
	})
}

// TestReleasedBlocksComeFirst checks that the image stays small: released blocks below
// the frontier are used again when they fit.
func TestReleasedBlocksComeFirst(t *testing.T) {
	a := newAllocator(newGeometry(8 * blocksPerGroup))
	first, second, third := a.take(10), a.take(20), a.take(5)
	a.release(first)
	a.release(second)
	if got := a.take(25); got.start != third.end() {
		t.Errorf("a run larger than each piece came from %d, want the frontier %d", got.start, third.end())
	}
	a.settle()
	if got := a.take(30); got != (run{first.start, 30}) {
		t.Errorf("after settling got %v, want the joined pieces", got)
	}
}
