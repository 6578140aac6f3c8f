package ext4

import "encoding/binary"

// extent maps count blocks of a file, beginning with logical, to the disk's blocks
// beginning with start.
type extent struct {
	logical, count uint32
	start          uint64
}

// Extent trees, from fs/ext4/ext4_extents.h.
const (
	extentMagic     = 0xf30a
	extentMaxBlocks = 32768 // more would mean "not initialised"
	extentsPerInode = 4
	extentsPerBlock = (blockSize - 12) / 12
)

// appendExtent appends e, or extends the last extent if e directly follows it.
func appendExtent(l []extent, e extent) []extent {
	if n := len(l); n > 0 {
		last := &l[n-1]
		touch := last.logical+last.count == e.logical && last.start+uint64(last.count) == e.start
		if touch && last.count+e.count <= extentMaxBlocks {
			last.count += e.count
			return l
		}
	}
	for e.count > 0 {
		n := min(e.count, extentMaxBlocks)
		l = append(l, extent{e.logical, n, e.start})
		e = extent{e.logical + n, e.count - n, e.start + uint64(n)}
	}
	return l
}

// extentRecord is a leaf or an index of an extent tree; both take 12 bytes and
// begin with the logical block.
type extentRecord [12]byte

func (e extent) record() (r extentRecord) {
	binary.LittleEndian.PutUint32(r[0:], e.logical)
	binary.LittleEndian.PutUint16(r[4:], uint16(e.count))
	binary.LittleEndian.PutUint16(r[6:], uint16(e.start>>32))
	binary.LittleEndian.PutUint32(r[8:], uint32(e.start))
	return r
}

func extentIndex(first extentRecord, block uint64) (r extentRecord) {
	copy(r[:4], first[:4])
	binary.LittleEndian.PutUint32(r[4:], uint32(block))
	binary.LittleEndian.PutUint16(r[8:], uint16(block>>32))
	return r
}

// putExtents fills a node of a tree: its header and its records.
func putExtents(b []byte, records []extentRecord, room, depth int) {
	binary.LittleEndian.PutUint16(b[0:], extentMagic)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(records)))
	binary.LittleEndian.PutUint16(b[4:], uint16(room))
	binary.LittleEndian.PutUint16(b[6:], uint16(depth))
	for i, r := range records {
		copy(b[12+12*i:], r[:])
	}
}

// extentTree writes a file's extent tree bottom-up, except for the root, which it puts
// into the inode's block field. seed is the seed of the inode's checksums. It returns
// the number of blocks written.
func (w *writer) extentTree(root []byte, extents []extent, seed uint32) (blocks uint64) {
	records := make([]extentRecord, len(extents))
	for i, e := range extents {
		records[i] = e.record()
	}
	depth := 0
	for ; len(records) > extentsPerInode; depth++ {
		var above []extentRecord
		for len(records) > 0 {
			n := min(len(records), extentsPerBlock)
			b := make([]byte, blockSize)
			putExtents(b, records[:n], extentsPerBlock, depth)
			const tail = 12 + 12*extentsPerBlock
			binary.LittleEndian.PutUint32(b[tail:], checksum(seed, b[:tail]))
			at := w.writeBlock(b)
			above = append(above, extentIndex(records[0], at))
			records = records[n:]
			blocks++
		}
		records = above
	}
	putExtents(root, records, extentsPerInode, depth)
	return blocks
}

// writeBlock writes one block to any free place and returns its number.
func (w *writer) writeBlock(b []byte) uint64 {
	r := w.space.take(1)
	w.out.write(int64(r.start)*blockSize, b)
	return r.start
}

// writeBlocks writes whole blocks to any free place, in as few extents as possible.
func (w *writer) writeBlocks(b []byte) (extents []extent) {
	for logical := uint32(0); len(b) > 0; {
		r := w.space.take(uint64(len(b) / blockSize))
		w.out.write(int64(r.start)*blockSize, b[:r.count*blockSize])
		extents = appendExtent(extents, extent{logical, r.count, r.start})
		b, logical = b[r.count*blockSize:], logical+r.count
	}
	return extents
}
