package ext4

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// Hash trees of large directories, from fs/ext4/namei.c. Without them every look-up in
// a directory reads half of it on average.
const (
	hashHalfMD4   = 1
	indexRootHead = 12 + 12 + 8 // ".", ".." and the tree's description
	indexNodeHead = 8           // an entry that hides the node from old readers
	indexRecord   = 8
	indexTail     = 8
	indexRootRoom = (blockSize - indexRootHead - indexTail) / indexRecord
	indexNodeRoom = (blockSize - indexNodeHead - indexTail) / indexRecord
)

// indexEntry names the block of a directory that holds names with this hash and above.
type indexEntry struct{ hash, block uint32 }

// hashTree returns a directory's blocks: the root, then the nodes of a second level if
// one is needed, then the leaves.
func (w *writer) hashTree(self, parent folderEntry, entries []folderEntry, seed uint32) []byte {
	leaves, index := w.hashLeaves(entries, seed)
	var nodes []byte
	levels := byte(0)
	if len(index) > indexRootRoom {
		levels = 1
		count := uint32(len(index)+indexNodeRoom-1) / indexNodeRoom
		for i := range index {
			index[i].block += count
		}
		var above []indexEntry
		for chunk := range slices.Chunk(index, indexNodeRoom) {
			above = append(above, indexEntry{chunk[0].hash, uint32(len(above)) + 1})
			nodes = append(nodes, indexNode(chunk, seed)...)
		}
		index = above
	}
	root := make([]byte, blockSize, blockSize+len(nodes)+len(leaves))
	putEntry(root, self, 12)
	putEntry(root[12:], parent, blockSize-12)
	root[28], root[29], root[30] = hashHalfMD4, 8, levels // 8: bytes of this description
	putIndex(root, indexRootHead, indexRootRoom, index, seed)
	return append(append(root, nodes...), leaves...)
}

func indexNode(index []indexEntry, seed uint32) []byte {
	b := make([]byte, blockSize)
	putEntry(b, folderEntry{}, blockSize)
	putIndex(b, indexNodeHead, indexNodeRoom, index, seed)
	return b
}

// putIndex fills a root or node. The first record's hash is zero by definition, so the
// limit and the count take its place.
func putIndex(b []byte, head, room int, index []indexEntry, seed uint32) {
	le := binary.LittleEndian
	for i, e := range index {
		le.PutUint32(b[head+i*indexRecord:], e.hash)
		le.PutUint32(b[head+i*indexRecord+4:], e.block)
	}
	le.PutUint16(b[head:], uint16(room))
	le.PutUint16(b[head+2:], uint16(len(index)))
	sum := checksum(seed, b[:head+len(index)*indexRecord])
	sum = checksum(sum, make([]byte, indexTail)) // reserved, and the checksum's own place
	le.PutUint32(b[blockSize-4:], sum)
}

// hashLeaves packs entries into leaves, ordered by hash. It numbers the blocks as if
// they directly followed the root.
func (w *writer) hashLeaves(entries []folderEntry, seed uint32) (leaves []byte, index []indexEntry) {
	for i := range entries {
		entries[i].hash, entries[i].minor = w.hashName(entries[i].name)
	}
	slices.SortStableFunc(entries, func(a, b folderEntry) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.minor, b.minor))
	})
	index = []indexEntry{{0, 1}}
	leaf := &leafBlock{}
	for i, e := range entries {
		if leaf.add(e) {
			continue
		}
		leaves = append(leaves, leaf.finish(seed)...)
		leaf = &leafBlock{}
		leaf.add(e)
		// An odd hash means that names with this hash begin in the previous block.
		hash := e.hash
		if entries[i-1].hash == e.hash {
			hash |= 1
		}
		index = append(index, indexEntry{hash, uint32(len(index)) + 1})
	}
	return append(leaves, leaf.finish(seed)...), index
}

// hashName returns ext4's half MD4 over unsigned bytes, which the superblock selects.
func (w *writer) hashName(name string) (hash, minor uint32) {
	state := w.hashSeed
	for rest := name; len(rest) > 0; rest = rest[min(32, len(rest)):] {
		halfMD4(&state, hashInput(rest))
	}
	hash = state[1] &^ 1
	const eof = 0xfffffffe // reserved as the end of a directory
	if hash == eof {
		hash = eof - 2
	}
	return hash, state[2]
}

// hashInput packs up to 32 bytes into words, padded with the length of the rest.
func hashInput(s string) (words [8]uint32) {
	pad := uint32(len(s)&0xff) * 0x01010101
	for i := range words {
		words[i] = pad
		for j := 4 * i; j < min(4*i+4, len(s)); j++ {
			words[i] = words[i]<<8 | uint32(s[j])
		}
	}
	return words
}

// halfMD4 is MD4 (RFC 1320) with half of its steps, as in the kernel's fs/ext4/hash.c.
func halfMD4(state *[4]uint32, in [8]uint32) {
	rounds := []struct {
		mix    func(x, y, z uint32) uint32
		add    uint32
		order  [8]int
		shifts [4]int
	}{
		{func(x, y, z uint32) uint32 { return z ^ x&(y^z) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5a827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ed9eba1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	}
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range rounds {
		for i, word := range r.order {
			a = bits.RotateLeft32(a+r.mix(b, c, d)+in[word]+r.add, r.shifts[i%4])
			a, b, c, d = d, a, b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
