package ext4

import (
	"cmp"
	"math/bits"
	"slices"
)

// run is a range of blocks.
type run struct {
	start uint64
	count uint32
}

func (r run) end() uint64 { return r.start + uint64(r.count) }

// allocator hands out blocks from a frontier that moves through the disk, so that
// writes are sequential. It also reuses the blocks of removed files.
//
// Allocation never fails: on a full disk the frontier moves past the end, where
// nothing is written. In the end peak shows how far it went.
type allocator struct {
	geo      geometry
	frontier uint64
	peak     uint64
	free     [33][]run // by power of two: free[i] holds runs of at least 1<<i blocks
	bitmaps  map[uint32][]byte
}

func newAllocator(geo geometry) *allocator {
	return &allocator{geo: geo, bitmaps: map[uint32][]byte{}}
}

// take returns a run of between 1 and n blocks. It prefers a released run that can
// hold all n, then the frontier, then the largest released run.
func (a *allocator) take(n uint64) run {
	r, ok := a.fitting(n)
	if !ok {
		a.skipMeta()
		if a.frontier >= a.geo.blocks {
			r, ok = a.largest(n)
		}
		if !ok {
			r = a.advance(n)
		}
	}
	a.mark(r, true)
	return r
}

// fitting takes n blocks from a released run. It only looks at the newest run of each
// size: an approximate best fit.
func (a *allocator) fitting(n uint64) (run, bool) {
	for class := bits.Len64(n) - 1; class < len(a.free); class++ {
		if l := a.free[class]; len(l) > 0 && uint64(l[len(l)-1].count) >= n {
			return a.split(class, uint32(n)), true
		}
	}
	return run{}, false
}

func (a *allocator) largest(n uint64) (run, bool) {
	for class := len(a.free) - 1; class >= 0; class-- {
		if l := a.free[class]; len(l) > 0 {
			return a.split(class, uint32(min(n, uint64(l[len(l)-1].count)))), true
		}
	}
	return run{}, false
}

// split takes the first n blocks of the newest run of a class.
func (a *allocator) split(class int, n uint32) run {
	l := a.free[class]
	r := l[len(l)-1]
	a.free[class] = l[:len(l)-1]
	a.give(run{r.start + uint64(n), r.count - n})
	return run{r.start, n}
}

func (a *allocator) give(r run) {
	if r.count > 0 {
		class := bits.Len32(r.count) - 1
		a.free[class] = append(a.free[class], r)
	}
}

// skipMeta moves the frontier over the structures at the start of a group.
func (a *allocator) skipMeta() {
	group := a.frontier / blocksPerGroup
	a.frontier = max(a.frontier, group*blocksPerGroup+uint64(a.geo.metaBlocks(uint32(group))))
}

// advance takes from the frontier up to the end of its group.
func (a *allocator) advance(n uint64) run {
	end := (a.frontier/blocksPerGroup + 1) * blocksPerGroup
	if a.frontier < a.geo.blocks {
		end = min(end, a.geo.blocks)
	}
	r := run{a.frontier, uint32(min(n, end-a.frontier))}
	a.frontier = r.end()
	a.peak = max(a.peak, a.frontier)
	return r
}

// release returns blocks to the allocator.
func (a *allocator) release(r run) {
	if r.count == 0 {
		return
	}
	a.mark(r, false)
	if r.end() == a.frontier {
		a.frontier = r.start
		return
	}
	a.give(r)
}

// settle joins adjacent free runs. Afterwards take returns the lowest ones first, which
// keeps the image compact.
func (a *allocator) settle() {
	var all []run
	for class, l := range a.free {
		all = append(all, l...)
		a.free[class] = nil
	}
	slices.SortFunc(all, func(x, y run) int { return cmp.Compare(x.start, y.start) })
	var joined []run
	for _, r := range all {
		last := len(joined) - 1
		if last >= 0 && joined[last].end() == r.start && joined[last].count < 1<<31 {
			joined[last].count += r.count
			continue
		}
		joined = append(joined, r)
	}
	if last := len(joined) - 1; last >= 0 && joined[last].end() == a.frontier {
		a.frontier = joined[last].start
		joined = joined[:last]
	}
	for _, r := range slices.Backward(joined) {
		a.give(r)
	}
}

// mark records in the bitmaps whether the blocks of r are in use. An untouched group
// has no bitmap.
func (a *allocator) mark(r run, used bool) {
	for at := r.start; at < min(r.end(), a.geo.blocks); {
		group := uint32(at / blocksPerGroup)
		from := uint32(at % blocksPerGroup)
		to := uint32(min(blocksPerGroup, uint64(from)+r.end()-at))
		setBits(a.bitmap(group), from, to, used)
		at += uint64(to - from)
	}
}

// bitmap returns the bitmap of a group. The bits of the group's own structures and
// those past the end of the disk are always set.
func (a *allocator) bitmap(group uint32) []byte {
	b := a.bitmaps[group]
	if b == nil {
		b = make([]byte, blockSize)
		setBits(b, 0, a.geo.metaBlocks(group), true)
		setBits(b, a.geo.groupBlocks(group), blocksPerGroup, true)
		a.bitmaps[group] = b
	}
	return b
}

// setBits sets or clears the bits [from, to) of a bitmap.
func setBits(b []byte, from, to uint32, on bool) {
	var fill byte
	if on {
		fill = 0xff
	}
	for from < to {
		if from%8 == 0 && to-from >= 8 {
			whole := b[from/8 : to/8]
			for i := range whole {
				whole[i] = fill
			}
			from = to / 8 * 8
			continue
		}
		if bit := byte(1) << (from % 8); on {
			b[from/8] |= bit
		} else {
			b[from/8] &^= bit
		}
		from++
	}
}

// freeBits counts the clear bits of a bitmap.
func freeBits(b []byte) (n uint32) {
	for _, x := range b {
		n += uint32(bits.OnesCount8(^x))
	}
	return n
}
