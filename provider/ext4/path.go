package ext4

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxName     = 255  // bytes, the length field of a directory entry
	maxSymlinks = 40   // on one way, as in the kernel's path walk
	maxTarget   = 4095 // bytes of a symlink's target: one block with its final NUL
)

// splitPath takes an entry's path apart. Absolute ones mean the image's root.
func splitPath(p string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return nil, errors.New(`a path with ".." is refused: it could mean a place outside the image`)
		}
		if err := checkName(part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("the name %.20q… has %d bytes: at most %d are possible", name, len(name), maxName)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("the name %q contains a NUL byte", name)
	}
	return nil
}

// errNoFolder is find's answer where a part of the path does not exist.
var errNoFolder = errors.New("no such folder")

// find walks to a folder, following symlinks as a process inside the image would.
func (m *merger) find(parts []string) (nodeID, error) {
	return m.walk(parts, func(nodeID, string) (nodeID, error) { return 0, errNoFolder })
}

// reach is find that makes folders which no layer has described. A file of a lower
// layer gives way to such a folder; one of the same layer is a contradiction.
func (m *merger) reach(parts []string) (nodeID, error) {
	return m.walk(parts, func(dir nodeID, name string) (nodeID, error) {
		if err := checkName(name); err != nil {
			return 0, err
		}
		if e, ok := m.tree.folders[dir].entries[name]; ok && e.layer == m.layer {
			return 0, fmt.Errorf("%q is no folder, and the same layer says so", name)
		}
		m.tree.remove(dir, name)
		id := m.tree.addFolder(dir)
		m.tree.set(dir, strings.Clone(name), dirent{id, m.layer})
		return id, nil
	})
}

// walk calls missing for a name that is no folder. ".." stops at the image's root,
// so no symlink leads out of it.
func (m *merger) walk(parts []string, missing func(nodeID, string) (nodeID, error)) (nodeID, error) {
	t, at, links := m.tree, m.tree.root, 0
	for len(parts) > 0 {
		name := parts[0]
		parts = parts[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = t.folders[at].parent
			continue
		}
		e, ok := t.folders[at].entries[name]
		switch {
		case ok && t.at(e.node).is(typeFolder):
			at = e.node
		case ok && t.at(e.node).is(typeSymlink):
			if links++; links > maxSymlinks {
				return 0, fmt.Errorf("more than %d symlinks lead to it: a loop?", maxSymlinks)
			}
			target := t.symlinks[e.node]
			if strings.HasPrefix(target, "/") {
				at = t.root
			}
			parts = append(strings.Split(target, "/"), parts...)
		default:
			id, err := missing(at, name)
			if err != nil {
				return 0, err
			}
			at = id
		}
	}
	return at, nil
}
