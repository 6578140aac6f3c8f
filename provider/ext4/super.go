package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the kernel's crc32c: without the inversions of the usual form.
func checksum(seed uint32, p []byte) uint32 { return ^crc32.Update(^seed, castagnoli, p) }

// Features of the file system, from Documentation/filesystems/ext4/super.rst.
const (
	compatFeatures   = 0x4 | 0x8 | 0x20                      // has_journal, ext_attr, dir_index
	incompatFeatures = 0x2 | 0x40 | 0x80 | 0x200             // filetype, extents, 64bit, flex_bg
	roFeatures       = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400 // sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum
	superSize        = 1024
	superMagic       = 0xef53
	mountOptions     = 0x4 | 0x8 // user_xattr, acl
	remountReadOnly  = 2         // the kernel's reaction to damage
	unsignedHash     = 0x2
	journalInInode   = 1
	log2BlockSize    = 2 // counted from 1 KiB
	log2FlexGroups   = 4
	checksumIsCRC32C = 1
)

// superblock is the on-disk superblock; fields without a name stay zero.
type superblock struct {
	Inodes, BlocksLow             uint32
	_                             uint32
	FreeBlocksLow, FreeInodes     uint32
	_                             uint32
	LogBlock, LogCluster          uint32
	PerGroup, ClustersPerGroup    uint32
	InodesPerGroup                uint32
	_, _                          uint32
	_, MaxMounts, Magic           uint16
	State, OnError                uint16
	_                             uint16
	_, _, _                       uint32
	Revision                      uint32
	_                             uint32
	FirstInode                    uint32
	InodeSize, Group              uint16
	Compat, Incompat, ROCompat    uint32
	UUID                          [16]byte
	Label                         [16]byte
	_                             [64]byte
	_                             uint32
	_                             uint32
	_                             [16]byte
	JournalInode                  uint32
	_, _                          uint32
	HashSeed                      [4]uint32
	HashVersion, JournalBackup    uint8
	DescSize                      uint16
	MountOptions                  uint32
	_, _                          uint32
	Journal                       [17]uint32
	BlocksHigh, _, FreeBlocksHigh uint32
	MinExtra, WantExtra           uint16
	Flags                         uint32
	_                             [16]byte
	LogFlex, Checksum             uint8
}

// newSuperblock returns the superblock of the finished file system, which includes a
// copy of r, the journal's inode.
func (w *writer) newSuperblock(freeBlocks uint64, freeInodes uint32, r *rawInode) superblock {
	s := superblock{
		Inodes: w.geo.groups * inodesPerGroup, FreeInodes: freeInodes,
		BlocksLow: uint32(w.geo.blocks), BlocksHigh: uint32(w.geo.blocks >> 32),
		FreeBlocksLow: uint32(freeBlocks), FreeBlocksHigh: uint32(freeBlocks >> 32),
		LogBlock: log2BlockSize, LogCluster: log2BlockSize,
		PerGroup: blocksPerGroup, ClustersPerGroup: blocksPerGroup, InodesPerGroup: inodesPerGroup,
		MaxMounts: 0xffff, Magic: superMagic, State: 1, OnError: remountReadOnly, Revision: 1,
		FirstInode: firstInode, InodeSize: inodeSize,
		Compat: compatFeatures, Incompat: incompatFeatures, ROCompat: roFeatures,
		UUID: w.uuid, JournalInode: journalInode, JournalBackup: journalInInode,
		HashSeed: w.hashSeed, HashVersion: hashHalfMD4, Flags: unsignedHash,
		DescSize: descSize, MountOptions: mountOptions, MinExtra: inodeExtra, WantExtra: inodeExtra,
		LogFlex: log2FlexGroups, Checksum: checksumIsCRC32C,
	}
	copy(s.Label[:], w.label)
	for i := range 15 {
		s.Journal[i] = binary.LittleEndian.Uint32(r.blockField()[4*i:])
	}
	size := w.tree.at(w.journal).size
	s.Journal[15], s.Journal[16] = uint32(size>>32), uint32(size)
	return s
}

// bytes encodes a group's copy of the superblock with its checksum.
func (s superblock) bytes(group uint32) []byte {
	s.Group = uint16(group)
	b := make([]byte, superSize)
	_, _ = binary.Encode(b, binary.LittleEndian, s)
	binary.LittleEndian.PutUint32(b[superSize-4:], checksum(0xffffffff, b[:superSize-4]))
	return b
}
