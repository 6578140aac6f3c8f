package ext4

import (
	"errors"
	"fmt"
	"strings"
)

// whiteout hides entries of lower layers. A missing entry is not an error: builders also
// mark files that only an intermediate layer had.
//
// A whiteout is in a directory of its layer, so it never hides what a symlink leads to: where a
// lower layer has the symlink, the layer has replaced it, or is about to.
func (m *merger) whiteout(parents []string, marker string) error {
	name := strings.TrimPrefix(marker, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("invalid whiteout of %q", name)
	}
	dir, err := m.findPlain(parents)
	switch {
	case errors.Is(err, errNoFolder) && marker == opaqueMarker:
		m.replaceByFolder(parents)
		return nil
	case errors.Is(err, errNoFolder):
		return nil
	case err != nil:
		return err
	case marker != opaqueMarker:
		m.hide(dir, name)
		return nil
	}
	for _, name := range m.tree.folders[dir].names() {
		m.hide(dir, name)
	}
	return nil
}

// replaceByFolder replaces a file or a symlink of a lower layer by a directory, which only a
// marker in it shows: overlayfs sees an opaque directory there, too. It counts as one of the lower
// layer, so that a whiteout of it works before and after the marker.
func (m *merger) replaceByFolder(path []string) {
	last := len(path) - 1
	dir, err := m.findPlain(path[:last])
	if err != nil {
		return
	}
	e, ok := m.tree.folders[dir].entries[path[last]]
	if !ok || e.layer == m.layer {
		return
	}
	m.tree.remove(dir, path[last])
	m.tree.set(dir, strings.Clone(path[last]), dirent{m.tree.addFolder(dir), e.layer})
}

// hide removes a name of a lower layer. A directory that this layer describes, or adds
// entries to, stays with only what this layer has set.
func (m *merger) hide(dir nodeID, name string) {
	e, ok := m.tree.folders[dir].entries[name]
	if !ok {
		return
	}
	f, isFolder := m.tree.folders[e.node]
	if isFolder {
		for _, below := range f.names() {
			m.hide(e.node, below)
		}
	}
	switch {
	case e.layer == m.layer:
	case isFolder && len(f.entries) > 0:
		// The result is the same as if its new entries had come after the whiteout.
		*m.tree.at(e.node) = node{mode: typeFolder | 0o755}
		m.tree.folders[dir].entries[name] = dirent{e.node, m.layer}
	default:
		m.tree.remove(dir, name)
	}
}
