package ext4

import "encoding/binary"

// journalSuper is the part of jbd2's big-endian superblock that an empty journal needs
// (Documentation/filesystems/ext4/journal.rst).
type journalSuper struct {
	Magic, BlockType, Sequence0 uint32
	BlockSize, Blocks, First    uint32
	Sequence, Start, Errno      uint32
	Compat, Incompat, ROCompat  uint32
	UUID                        [16]byte
	Users                       uint32
}

const (
	journalMagic   = 0xc03b3998
	journalSuperV2 = 4
)

// reserveJournal takes the first blocks of the disk for the journal, which gives it few
// extents.
func (w *writer) reserveJournal() {
	w.journal = w.tree.add(node{mode: typeRegular | 0o600, links: 1, number: journalInode})
	var l []extent
	left := w.geo.journalBlocks()
	w.tree.at(w.journal).size = int64(left) * blockSize
	for logical := uint32(0); left > 0; {
		r := w.space.take(uint64(left))
		l = appendExtent(l, extent{logical, r.count, r.start})
		logical, left = logical+r.count, left-r.count
	}
	w.tree.setExtents(w.journal, l)
}

// writeJournal writes the superblock of an empty journal; the rest may stay a hole.
func (w *writer) writeJournal() {
	b, _ := binary.Append(nil, binary.BigEndian, journalSuper{
		Magic: journalMagic, BlockType: journalSuperV2, BlockSize: blockSize,
		Blocks: w.geo.journalBlocks(), First: 1, Sequence: 1, UUID: w.uuid, Users: 1,
	})
	block := make([]byte, blockSize)
	copy(block, b)
	w.out.write(int64(w.tree.extentsOf(w.journal)[0].start)*blockSize, block)
}
