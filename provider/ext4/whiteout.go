package ext4

import (
	"errors"
	"fmt"
	"strings"
)

// whiteout hides entries of lower layers. A missing entry is not an error: builders also
// mark files that only an intermediate layer had.
func (m *merger) whiteout(parents []string, marker string) error {
	name := strings.TrimPrefix(marker, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("invalid whiteout of %q", name)
	}
	dir, err := m.find(parents)
	if errors.Is(err, errNoFolder) {
		return nil
	}
	if err != nil {
		return err
	}
	f := m.tree.folders[dir]
	if marker == opaqueMarker {
		for _, name := range f.names() {
			m.hide(dir, name)
		}
		return nil
	}
	m.hide(dir, name)
	return nil
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
