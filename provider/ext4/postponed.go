package ext4

import (
	"archive/tar"
	"context"
	"io"
	"slices"
)

// postponed is an entry below a symlink of a lower layer. Only at the end of the layer is it known
// whether the layer has a directory of the link's name, so that the entry belongs into that, or
// whether it goes where the link leads.
type postponed struct {
	path    string // as in the layer, for errors
	parents []string
	name    string
	node    nodeID // a file, which the postponed name keeps; zero for a directory
	folder  node   // of a directory
}

// postpone stores an entry without its name.
func (m *merger) postpone(ctx context.Context, parents []string, name string, h *tar.Header, r io.Reader) (err error) {
	p := postponed{path: h.Name, parents: parents, name: name}
	switch h.Typeflag {
	case tar.TypeDir:
		p.folder, err = m.tree.metadata(h, typeFolder)
	case tar.TypeLink:
		p.node, err = m.source(h.Linkname)
	default:
		p.node, err = m.create(ctx, h, r, func() {})
	}
	if err != nil {
		return err
	}
	if p.node != 0 {
		m.tree.at(p.node).links++
	}
	m.later = append(m.later, p)
	return nil
}

// awaited returns the file that was postponed under a name.
func (m *merger) awaited(parents []string, name string) (nodeID, bool) {
	for _, p := range slices.Backward(m.later) {
		if p.name == name && p.node != 0 && m.samePlace(p.parents, parents) {
			return p.node, true
		}
	}
	return 0, false
}

// samePlace reports whether two paths are the same or lead to the same directory.
func (m *merger) samePlace(a, b []string) bool {
	if slices.Equal(a, b) {
		return true
	}
	x, errX := m.find(a)
	y, errY := m.find(b)
	return errX == nil && errY == nil && x == y
}

// finish gives the postponed entries their names: a directory before what is in it, and the last
// of duplicate entries last.
func (m *merger) finish(l Layer) error {
	m.last = true
	slices.SortStableFunc(m.later, func(a, b postponed) int {
		return slices.Compare(append(slices.Clip(a.parents), a.name), append(slices.Clip(b.parents), b.name))
	})
	for _, p := range m.later {
		dir, err := m.reach(p.parents)
		if err != nil {
			return &LayerError{Layer: l.Name, Path: p.path, Err: err}
		}
		if p.node == 0 {
			m.folder(dir, p.name, p.folder)
			continue
		}
		m.link(dir, p.name, p.node)
		m.tree.at(p.node).links--
	}
	return nil
}
