package ext4

import (
	"maps"
	"path"
	"slices"
)

// File types in an inode's mode, from the kernel's uapi/linux/stat.h. The host's own
// numbers may differ.
const (
	typeMask    = 0xf000
	typeFifo    = 0x1000
	typeChar    = 0x2000
	typeFolder  = 0x4000
	typeBlock   = 0x6000
	typeRegular = 0x8000
	typeSymlink = 0xa000
)

// nodeID identifies a node of a tree; zero means no node.
type nodeID uint32

// node is a file of any type. There is one per inode of an image, so it is small and
// has no pointers: data that few nodes have is in the tree's maps.
type node struct {
	size   int64
	mtime  int64  // seconds since 1970
	start  uint64 // first block of the only extent, when count is not zero; device number
	count  uint32 // blocks of the only extent
	nsec   uint32
	uid    uint32
	gid    uint32
	attrs  uint32 // index into tree.attrSets
	links  uint32 // of a file: names; of a directory: subdirectories, once numbered
	number uint32 // inode number, once numbered
	mode   uint16
}

func (n *node) is(fileType uint16) bool { return n.mode&typeMask == fileType }

// dirent is the node that a name refers to, and the layer that set it.
type dirent struct {
	node  nodeID
	layer uint16
}

type folder struct {
	parent  nodeID
	entries map[string]dirent
}

// names returns the directory's names in byte order, so that the output is reproducible.
func (f *folder) names() []string { return slices.Sorted(maps.Keys(f.entries)) }

const nodesPerChunk = 1 << 10

// tree is the merged image in memory: everything except file contents.
type tree struct {
	chunks   []*[nodesPerChunk]node // chunks, so that growing never moves a node
	next     nodeID
	unused   []nodeID
	root     nodeID
	folders  map[nodeID]*folder
	symlinks map[nodeID]string
	extents  map[nodeID][]extent // of files with several extents, or with a hole first
	attrSets [][]attr            // distinct sets; 0 is the empty one
	attrIDs  map[string]uint32   // index into attrSets by encoding

	release func(run) // releases the blocks of removed files
}

func newTree(release func(run)) *tree {
	t := &tree{
		next: 1, folders: map[nodeID]*folder{}, symlinks: map[nodeID]string{}, extents: map[nodeID][]extent{},
		attrSets: [][]attr{nil}, attrIDs: map[string]uint32{"": 0}, release: release,
	}
	t.root = t.addFolder(0)
	t.folders[t.root].parent = t.root
	return t
}

// at returns a node; the pointer stays valid.
func (t *tree) at(id nodeID) *node { return &t.chunks[id/nodesPerChunk][id%nodesPerChunk] }

// count returns the number of nodes.
func (t *tree) count() int { return int(t.next) - 1 - len(t.unused) }

func (t *tree) add(n node) nodeID {
	var id nodeID
	if last := len(t.unused) - 1; last >= 0 {
		id, t.unused = t.unused[last], t.unused[:last]
	} else {
		id = t.next
		t.next++
		if int(id/nodesPerChunk) == len(t.chunks) {
			t.chunks = append(t.chunks, new([nodesPerChunk]node))
		}
	}
	*t.at(id) = n
	return id
}

// addFolder adds a directory with the metadata of one that no layer describes.
func (t *tree) addFolder(parent nodeID) nodeID {
	id := t.add(node{mode: typeFolder | 0o755})
	t.folders[id] = &folder{parent: parent, entries: map[string]dirent{}}
	return id
}

// set adds a name to a directory; the name must be free.
func (t *tree) set(dir nodeID, name string, e dirent) {
	t.folders[dir].entries[name] = e
	if n := t.at(e.node); !n.is(typeFolder) {
		n.links++
	}
}

// remove removes a name, and everything below it, from a directory.
func (t *tree) remove(dir nodeID, name string) {
	f := t.folders[dir]
	if e, ok := f.entries[name]; ok {
		delete(f.entries, name)
		t.unlink(e.node)
	}
}

// unlink frees a node when its last name is removed. It empties directories in the order
// of their names, so that blocks always become free in the same order.
func (t *tree) unlink(id nodeID) {
	n := t.at(id)
	if n.is(typeFolder) {
		f := t.folders[id]
		for _, name := range f.names() {
			t.unlink(f.entries[name].node)
		}
	} else if n.links--; n.links > 0 {
		return
	}
	for _, e := range t.extentsOf(id) {
		t.release(run{e.start, e.count})
	}
	delete(t.folders, id)
	delete(t.symlinks, id)
	delete(t.extents, id)
	t.unused = append(t.unused, id)
}

// path returns a directory's path for error messages.
func (t *tree) path(dir nodeID) string {
	if dir == t.root {
		return "/"
	}
	parent := t.folders[dir].parent
	for name, e := range t.folders[parent].entries {
		if e.node == dir {
			return path.Join(t.path(parent), name)
		}
	}
	return "?"
}

// setExtents records a file's extents. It does not retain l.
func (t *tree) setExtents(id nodeID, l []extent) {
	n := t.at(id)
	switch {
	case len(l) == 0:
	case len(l) == 1 && l[0].logical == 0:
		n.start, n.count = l[0].start, l[0].count
	default:
		t.extents[id] = slices.Clone(l)
	}
}

func (t *tree) extentsOf(id nodeID) []extent {
	if l := t.extents[id]; l != nil {
		return l
	}
	if n := t.at(id); n.count > 0 {
		return []extent{{0, n.count, n.start}}
	}
	return nil
}
