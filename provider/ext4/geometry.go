package ext4

// Fixed parameters of the format. They are mke2fs's defaults for large disks, which
// kernels and tools know best.
const (
	blockSize      = 4096
	blocksPerGroup = 8 * blockSize // as many as one bitmap block describes
	inodesPerGroup = 8192
	inodeSize      = 256
	tableBlocks    = inodesPerGroup * inodeSize / blockSize
	groupsPerFlex  = 16 // groups whose bitmaps and inode tables are stored together
	descSize       = 64

	rootInode    = 2
	journalInode = 8
	firstInode   = 11 // lower ones are reserved
)

// geometry is how a file system divides its blocks.
type geometry struct {
	blocks     uint64
	groups     uint32
	descBlocks uint32 // of one copy of the group descriptors
}

// newGeometry returns the geometry of a disk. Like mke2fs it omits a last group that
// could hold little beyond its own structures; growing the disk adds it later.
func newGeometry(blocks uint64) geometry {
	g := geometryOf(blocks)
	const worthwhile = 50
	rest := uint32(blocks % blocksPerGroup)
	if rest != 0 && g.groups > 1 && rest < g.metaBlocks(g.groups-1)+worthwhile {
		g = geometryOf(blocks - uint64(rest))
	}
	return g
}

func geometryOf(blocks uint64) geometry {
	groups := uint32((blocks + blocksPerGroup - 1) / blocksPerGroup)
	return geometry{blocks, groups, (groups*descSize + blockSize - 1) / blockSize}
}

// hasSuper reports whether group n has a copy of the superblock and the descriptors
// (sparse_super: 0, 1 and the powers of 3, 5 and 7).
func hasSuper(n uint32) bool {
	if n <= 1 {
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		p := base
		for p < uint64(n) {
			p *= base
		}
		if p == uint64(n) {
			return true
		}
	}
	return false
}

// flexGroups returns the number of groups in the flex group that begins with n. Flex
// groups past the end, where a full disk's allocations go, count as complete.
func (g geometry) flexGroups(n uint32) uint32 {
	if n >= g.groups {
		return groupsPerFlex
	}
	return min(groupsPerFlex, g.groups-n)
}

// metaBlocks returns the number of blocks at the start of group n that hold structures
// of the file system.
func (g geometry) metaBlocks(n uint32) uint32 {
	var blocks uint32
	if hasSuper(n) {
		blocks = 1 + g.descBlocks
	}
	if n%groupsPerFlex == 0 {
		blocks += g.flexGroups(n) * (2 + tableBlocks)
	}
	return blocks
}

// inodes returns the total number of inodes.
func (g geometry) inodes() int { return int(g.groups) * inodesPerGroup }

// contentBlocks returns the number of blocks for files, including the journal.
func (g geometry) contentBlocks() uint64 {
	n := g.blocks
	for group := range g.groups {
		n -= uint64(g.metaBlocks(group))
	}
	return n
}

// groupLayout holds the block numbers of one group's structures.
type groupLayout struct{ blockBitmap, inodeBitmap, inodeTable uint64 }

func (g geometry) layout(n uint32) groupLayout {
	leader := n - n%groupsPerFlex
	base := uint64(leader) * blocksPerGroup
	if hasSuper(leader) {
		base += 1 + uint64(g.descBlocks)
	}
	in, i := uint64(g.flexGroups(leader)), uint64(n-leader)
	return groupLayout{base + i, base + in + i, base + 2*in + i*tableBlocks}
}

// groupBlocks returns the number of blocks in group n; the last one has fewer.
func (g geometry) groupBlocks(n uint32) uint32 {
	return uint32(min(blocksPerGroup, g.blocks-uint64(n)*blocksPerGroup))
}

// journalBlocks returns the size of the journal: a thousandth of the disk, but at least
// 16 MiB (a sixteenth of the disk if that is less; jbd2 refuses fewer than 1024 blocks)
// and at most 256 MiB, which only heavy metadata load fills. Blocks that the kernel has
// not used yet take no space on the host.
func (g geometry) journalBlocks() uint32 {
	const least, most = 4096, 65536
	return uint32(min(max(g.blocks/1024, least), most, g.blocks/16))
}
