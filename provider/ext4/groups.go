package ext4

import "encoding/binary"

// Flags of a block group, from Documentation/filesystems/ext4/group_descr.rst.
const (
	inodesUnused = 0x1 // the inode bitmap is not written: nothing is in use
	blocksUnused = 0x2 // the block bitmap is not written
	// tableZeroed promises that unused parts of the inode table are zero, as they are in
	// a new file. Without it the kernel zeroes the table after the first mount.
	tableZeroed = 0x4
)

// groupDesc is a 64-byte group descriptor.
type groupDesc struct {
	BlockBitmap, InodeBitmap, InodeTable     uint32
	FreeBlocks, FreeInodes, Folders          uint16
	Flags                                    uint16
	_                                        uint32
	BlockSum, InodeSum                       uint16
	UnusedInodes, Checksum                   uint16
	BlockBitmapHi, InodeBitmapHi, InodeTblHi uint32
	_, _, _, _                               uint16
	_                                        uint32
	BlockSumHi, InodeSumHi                   uint16
	_                                        uint32
}

// writeGroups writes bitmaps, descriptors and superblocks for a file system whose first
// inodes are in use.
func (w *writer) writeGroups(inodes int) error {
	table := make([]byte, w.geo.descBlocks*blockSize)
	var freeBlocks uint64
	folders := w.foldersPerGroup()
	for group := range w.geo.groups {
		if w.out.failed.Load() {
			return errSink
		}
		used := min(max(inodes-int(group)*inodesPerGroup, 0), inodesPerGroup)
		d := w.groupDesc(group, uint32(used))
		d.Folders = folders[group]
		freeBlocks += uint64(d.FreeBlocks)
		b := table[group*descSize : (group+1)*descSize]
		_, _ = binary.Encode(b, binary.LittleEndian, d)
		sum := checksum(checksum(w.seed, binary.LittleEndian.AppendUint32(nil, group)), b)
		binary.LittleEndian.PutUint16(b[0x1e:], uint16(sum))
	}
	w.used = int64(w.geo.blocks - freeBlocks)
	journal := w.encodeInode(w.journal)
	super := w.newSuperblock(freeBlocks, w.geo.groups*inodesPerGroup-uint32(inodes), journal)
	for group := range w.geo.groups {
		if !hasSuper(group) {
			continue
		}
		start := int64(group) * blocksPerGroup * blockSize
		at := start
		if group == 0 {
			at = superSize // the first KiB belongs to boot loaders
		}
		w.out.write(at, super.bytes(group))
		w.out.write(start+blockSize, table)
	}
	return nil
}

// groupDesc writes the bitmaps of a group and returns its descriptor. A group without
// content needs no block bitmap, except where the kernel expects the bitmap to cover
// more than the group's own structures: in the first group of a flex group and in the
// very last group.
func (w *writer) groupDesc(group, used uint32) groupDesc {
	at := w.geo.layout(group)
	d := groupDesc{
		BlockBitmap: uint32(at.blockBitmap), BlockBitmapHi: uint32(at.blockBitmap >> 32),
		InodeBitmap: uint32(at.inodeBitmap), InodeBitmapHi: uint32(at.inodeBitmap >> 32),
		InodeTable: uint32(at.inodeTable), InodeTblHi: uint32(at.inodeTable >> 32),
		Flags: tableZeroed, FreeInodes: uint16(inodesPerGroup - used), UnusedInodes: uint16(inodesPerGroup - used),
	}
	if w.space.bitmaps[group] == nil && group%groupsPerFlex != 0 && group != w.geo.groups-1 {
		d.Flags |= blocksUnused
		d.FreeBlocks = uint16(blocksPerGroup - w.geo.metaBlocks(group))
	} else {
		b := w.space.bitmap(group)
		d.FreeBlocks = uint16(freeBits(b))
		w.out.write(int64(at.blockBitmap)*blockSize, b)
		sum := checksum(w.seed, b)
		d.BlockSum, d.BlockSumHi = uint16(sum), uint16(sum>>16)
	}
	if used == 0 {
		d.Flags |= inodesUnused
		return d
	}
	b := make([]byte, blockSize)
	setBits(b, 0, used, true)
	setBits(b, inodesPerGroup, blocksPerGroup, true)
	w.out.write(int64(at.inodeBitmap)*blockSize, b)
	sum := checksum(w.seed, b[:inodesPerGroup/8])
	d.InodeSum, d.InodeSumHi = uint16(sum), uint16(sum>>16)
	return d
}

func (w *writer) foldersPerGroup() map[uint32]uint16 {
	count := map[uint32]uint16{}
	for id := range w.tree.folders {
		count[(w.tree.at(id).number-1)/inodesPerGroup]++
	}
	return count
}
