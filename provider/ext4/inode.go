package ext4

import (
	"encoding/binary"
	"fmt"
)

// Inodes, from Documentation/filesystems/ext4/inodes.rst.
const (
	inodeExtra = 32               // bytes of fields beyond the classic 128
	inodeAttrs = 128 + inodeExtra // where extended attributes begin

	flagIndex   = 0x1000  // the directory has a hash tree
	flagExtents = 0x80000 // the block field is an extent tree

	fastSymlink = 59 // bytes of target that fit into the block field with a NUL
)

// rawInode builds an inode's bytes.
type rawInode struct {
	b      [inodeSize]byte
	seed   uint32 // of this inode's checksums
	blocks uint64 // becomes i_blocks
}

func (w *writer) newRaw(number uint32) *rawInode {
	r := &rawInode{}
	var b [8]byte // the number, and a generation of zero
	binary.LittleEndian.PutUint32(b[:], number)
	r.seed = checksum(w.seed, b[:])
	return r
}

func (r *rawInode) put16(at int, v uint16) { binary.LittleEndian.PutUint16(r.b[at:], v) }
func (r *rawInode) put32(at int, v uint32) { binary.LittleEndian.PutUint32(r.b[at:], v) }

// blockField returns the field for extents, short symlinks and device numbers.
func (r *rawInode) blockField() []byte { return r.b[0x28:0x64] }

// encodeInode writes everything that belongs to a node and returns its inode.
func (w *writer) encodeInode(id nodeID) *rawInode {
	n := w.tree.at(id)
	r := w.newRaw(n.number)
	switch n.mode & typeMask {
	case typeFolder:
		content, flags := w.folderBlocks(id, r.seed)
		n.size = int64(len(content))
		w.putExtents(r, w.writeBlocks(content), flags)
	case typeRegular:
		w.putExtents(r, w.tree.extentsOf(id), 0)
	case typeSymlink:
		target := w.tree.symlinks[id]
		if len(target) <= fastSymlink {
			copy(r.blockField(), target)
			break
		}
		b := make([]byte, blockSize)
		copy(b, target)
		w.putExtents(r, w.writeBlocks(b), 0)
	case typeChar, typeBlock:
		// As in the kernel: the old format in the first word, the new one in the second.
		slot := 0
		if n.start > 0xffff {
			slot = 4
		}
		binary.LittleEndian.PutUint32(r.blockField()[slot:], uint32(n.start))
	}
	if n.attrs != 0 {
		w.putAttrs(r, w.tree.attrSets[n.attrs])
	}
	r.describe(n)
	return r
}

func (w *writer) putExtents(r *rawInode, l []extent, flags uint32) {
	r.put32(0x20, flagExtents|flags)
	r.blocks += w.extentTree(r.blockField(), l, r.seed)
	for _, e := range l {
		r.blocks += uint64(e.count)
	}
}

func (w *writer) putAttrs(r *rawInode, attrs []attr) {
	inode, block := splitAttrs(attrs)
	if len(inode) > 0 {
		r.put32(inodeAttrs, attrMagic)
		putAttrs(r.b[inodeAttrs+4:], 0, inode)
	}
	if len(block) > 0 {
		at := w.attrBlock(block)
		r.put32(0x68, uint32(at))
		r.put16(0x76, uint16(at>>32))
		r.blocks++
	}
}

// describe fills the fixed fields and the checksum.
func (r *rawInode) describe(n *node) {
	r.put16(0x00, n.mode)
	r.put16(0x02, uint16(n.uid))
	r.put32(0x04, uint32(n.size))
	sec, extra := diskTime(n.mtime, n.nsec)
	for _, at := range []int{0x08, 0x0c, 0x10, 0x90} { // access, change, modification, creation
		r.put32(at, sec)
	}
	for _, at := range []int{0x8c, 0x84, 0x88, 0x94} {
		r.put32(at, extra)
	}
	r.put16(0x18, uint16(n.gid))
	r.put16(0x1a, linkCount(n))
	sectors := r.blocks * (blockSize / 512)
	r.put32(0x1c, uint32(sectors))
	r.put32(0x6c, uint32(n.size>>32))
	r.put16(0x74, uint16(sectors>>32))
	r.put16(0x78, uint16(n.uid>>16))
	r.put16(0x7a, uint16(n.gid>>16))
	r.put16(0x80, inodeExtra)
	sum := checksum(r.seed, r.b[:])
	r.put16(0x7c, uint16(sum))
	r.put16(0x82, uint16(sum>>16))
}

// linkCount returns a node's link count, which includes a directory's own "." and its
// name. A directory with more than maxLinks has a count of 1 (dir_nlink).
func linkCount(n *node) uint16 {
	if !n.is(typeFolder) {
		return uint16(n.links)
	}
	if links := n.links + 2; links <= maxLinks {
		return uint16(links)
	}
	return 1
}

// diskTime splits a time into 32 bits of seconds and a field of 30 bits of nanoseconds
// and 2 more bits of seconds. Like the kernel it clamps times to the range from 1901 to
// 2446.
func diskTime(sec int64, nsec uint32) (low, extra uint32) {
	const first, last = -1 << 31, 1<<34 - 1<<31 - 1
	if sec < first {
		sec, nsec = first, 0
	} else if sec > last {
		sec, nsec = last, 0
	}
	epoch := uint32((sec-int64(int32(sec)))>>32) & 3
	return uint32(sec), epoch | nsec<<2
}

// deviceNumber encodes a device number: 8 and 8 bits in the old format if that is
// enough, else 12 and 20 bits (include/linux/kdev_t.h).
func deviceNumber(major, minor int64) (uint64, error) {
	if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 {
		return 0, fmt.Errorf("invalid device %d:%d: major must be below %d and minor below %d", major, minor, 1<<12, 1<<20)
	}
	if major < 256 && minor < 256 {
		return uint64(major<<8 | minor), nil
	}
	return uint64(minor&0xff | major<<8 | (minor&^0xff)<<12), nil
}
