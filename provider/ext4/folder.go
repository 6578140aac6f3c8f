package ext4

import (
	"encoding/binary"
	"fmt"
)

// Directory blocks, from Documentation/filesystems/ext4/directory.rst.
const (
	entryHead      = 8
	tailSize       = 12 // the fake entry that carries a block's checksum
	tailType       = 0xde
	folderTypeCode = 2
)

// folderEntry is an entry of a directory before it is encoded.
type folderEntry struct {
	name     string
	number   uint32
	typeCode byte
	hash     uint32 // for hash trees only
	minor    uint32
}

func (e folderEntry) size() int { return align4(entryHead + len(e.name)) }

func typeCode(mode uint16) byte {
	switch mode & typeMask {
	case typeRegular:
		return 1
	case typeFolder:
		return folderTypeCode
	case typeChar:
		return 3
	case typeBlock:
		return 4
	case typeFifo:
		return 5
	case typeSymlink:
		return 7
	}
	return 0
}

// folderEntries returns a directory's entries ordered by name, without "." and "..".
func (w *writer) folderEntries(f *folder) []folderEntry {
	entries := make([]folderEntry, 0, len(f.entries))
	for _, name := range f.names() {
		n := w.tree.at(f.entries[name].node)
		entries = append(entries, folderEntry{name: name, number: n.number, typeCode: typeCode(n.mode)})
	}
	return entries
}

// folderBlocks returns the content of a directory and the flags of its inode. A
// directory larger than one block gets a hash tree: the kernel only creates one when a
// directory outgrows its first block, never later.
func (w *writer) folderBlocks(id nodeID, seed uint32) (content []byte, flags uint32) {
	f := w.tree.folders[id]
	self := folderEntry{name: ".", number: w.tree.at(id).number, typeCode: folderTypeCode}
	parent := folderEntry{name: "..", number: w.tree.at(f.parent).number, typeCode: folderTypeCode}
	entries := w.folderEntries(f)
	size := self.size() + parent.size()
	for _, e := range entries {
		size += e.size()
	}
	if size > blockSize-tailSize {
		return w.hashTree(self, parent, entries, seed), flagIndex
	}
	var leaf leafBlock
	leaf.add(self)
	leaf.add(parent)
	for _, e := range entries {
		leaf.add(e)
	}
	return leaf.finish(seed), 0
}

// leafBlock builds a directory block.
type leafBlock struct {
	b          [blockSize]byte
	used, last int
}

// add adds e and reports whether it fits.
func (l *leafBlock) add(e folderEntry) bool {
	if l.used+e.size() > blockSize-tailSize {
		return false
	}
	putEntry(l.b[l.used:], e, e.size())
	l.last = l.used
	l.used += e.size()
	return true
}

func putEntry(b []byte, e folderEntry, size int) {
	binary.LittleEndian.PutUint32(b[0:], e.number)
	binary.LittleEndian.PutUint16(b[4:], uint16(size))
	b[6], b[7] = byte(len(e.name)), e.typeCode
	copy(b[entryHead:], e.name)
}

// finish extends the last entry to the tail and returns the block.
func (l *leafBlock) finish(seed uint32) []byte {
	const tail = blockSize - tailSize
	binary.LittleEndian.PutUint16(l.b[l.last+4:], uint16(tail-l.last))
	binary.LittleEndian.PutUint16(l.b[tail+4:], tailSize)
	l.b[tail+7] = tailType
	binary.LittleEndian.PutUint32(l.b[tail+8:], checksum(seed, l.b[:tail]))
	return l.b[:]
}

// checkFolder rejects a directory that two levels of a hash tree cannot hold.
func (w *writer) checkFolder(f *folder) error {
	// Leaves are at least half full, whatever the names.
	size := 0
	for name := range f.entries {
		size += folderEntry{name: name}.size()
	}
	if leaves := size / (blockSize / 2); leaves > indexRootRoom*indexNodeRoom {
		return fmt.Errorf("a directory of %d entries is too large for ext4", len(f.entries))
	}
	return nil
}
