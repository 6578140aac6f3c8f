package ext4

import (
	"errors"
	"fmt"
	"strings"
)

// whiteout hides what lower layers have. That nothing is there to hide is no error:
// builders also mark files that only an intermediate layer had.
func (m *merger) whiteout(parents []string, marker string) error {
	name := strings.TrimPrefix(marker, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("a whiteout of %q means nothing", name)
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

// hide removes a name of a lower layer. A folder that this layer describes, or into
// which it has put something, stays with just that.
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
		// As if its new entries had come after the whiteout.
		*m.tree.at(e.node) = node{mode: typeFolder | 0o755}
		m.tree.folders[dir].entries[name] = dirent{e.node, m.layer}
	default:
		m.tree.remove(dir, name)
	}
}
