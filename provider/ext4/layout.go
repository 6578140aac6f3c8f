package ext4

import (
	"context"
	"fmt"
)

const lostAndFound = "lost+found"

// number assigns every node its inode number, breadth first, so that the files of one
// directory are adjacent. It returns the nodes by number, from inode 1.
func (w *writer) number() ([]nodeID, error) {
	t := w.tree
	order := make([]nodeID, firstInode-1, t.next+firstInode)
	order[rootInode-1], order[journalInode-1] = t.root, w.journal
	t.at(t.root).number = rootInode
	if _, taken := t.folders[t.root].entries[lostAndFound]; !taken {
		id := t.addFolder(t.root)
		t.at(id).mode = typeFolder | 0o700
		t.set(t.root, lostAndFound, dirent{node: id})
	}
	// e2fsck looks for lost+found by name; mke2fs gives it the first free inode.
	order = w.assign(order, t.folders[t.root].entries[lostAndFound].node)
	queue := []nodeID{t.root}
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		f := t.folders[dir]
		if err := w.checkFolder(f); err != nil {
			return nil, fmt.Errorf("%s: %w", t.path(dir), err)
		}
		for _, name := range f.names() {
			id := f.entries[name].node
			order = w.assign(order, id)
			if t.at(id).is(typeFolder) {
				t.at(dir).links++
				queue = append(queue, id)
			}
		}
	}
	w.files = len(order) - firstInode + 2 // with the root, which has a reserved number
	return order, nil
}

// assign numbers a node unless another name of it was numbered before.
func (w *writer) assign(order []nodeID, id nodeID) []nodeID {
	n := w.tree.at(id)
	if n.number != 0 {
		return order
	}
	order = append(order, id)
	n.number = uint32(len(order))
	return order
}

// writeInodes writes all inodes and what belongs to them. It writes the tables in larger
// pieces, or they would alternate with the blocks of directories.
func (w *writer) writeInodes(ctx context.Context, order []nodeID) error {
	const piece = 256 // inodes; divides a group's table
	table := make([]byte, 0, piece*inodeSize)
	for i, id := range order {
		if id == 0 {
			table = append(table, make([]byte, inodeSize)...) // reserved, unused
		} else {
			table = append(table, w.encodeInode(id).b[:]...)
		}
		if len(table) < cap(table) && i+1 < len(order) {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if w.out.failed.Load() {
			return errSink
		}
		first := i - i%piece
		at := int64(w.geo.layout(uint32(first/inodesPerGroup)).inodeTable) * blockSize
		w.out.write(at+int64(first%inodesPerGroup)*inodeSize, table)
		table = table[:0]
	}
	return nil
}
