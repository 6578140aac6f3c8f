package ext4

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxName     = 255  // bytes, the length field of a directory entry
	maxSymlinks = 40   // in one path, as in the kernel's path walk
	maxTarget   = 4095 // bytes of a symlink's target: one block with its final NUL
)

// splitPath splits an entry's path into names. An absolute path begins at the image's root.
func splitPath(p string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return nil, errors.New(`".." is not allowed in a path: it could lead out of the image`)
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
		return fmt.Errorf("name %.20q… has %d bytes, more than %d", name, len(name), maxName)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("name %q contains a NUL byte", name)
	}
	return nil
}

// errNoFolder is find's error if a part of the path does not exist.
var errNoFolder = errors.New("no such directory")

// errLowerLink is reach's error at a symlink of a lower layer before the layer's end.
var errLowerLink = errors.New("the path leads through a symlink of a lower layer")

// find walks to a directory, following symlinks as a process inside the image would.
func (m *merger) find(parts []string) (nodeID, error) {
	return m.walk(parts, func(dirent) error { return nil }, noFolder)
}

// findPlain walks to a directory without following symlinks.
func (m *merger) findPlain(parts []string) (nodeID, error) {
	return m.walk(parts, func(dirent) error { return errNoFolder }, noFolder)
}

func noFolder(nodeID, string) (nodeID, error) { return 0, errNoFolder }

// reach walks to a directory and creates missing ones. Such a directory replaces a file
// of a lower layer; a file of the same layer is an error.
func (m *merger) reach(parts []string) (nodeID, error) {
	link := func(e dirent) error {
		if e.layer != m.layer && !m.last {
			return errLowerLink
		}
		return nil
	}
	return m.walk(parts, link, func(dir nodeID, name string) (nodeID, error) {
		if err := checkName(name); err != nil {
			return 0, err
		}
		if e, ok := m.tree.folders[dir].entries[name]; ok && e.layer == m.layer {
			return 0, fmt.Errorf("parent %q is not a directory in the same layer", name)
		}
		m.tree.remove(dir, name)
		id := m.tree.addFolder(dir)
		m.tree.set(dir, strings.Clone(name), dirent{id, m.layer})
		return id, nil
	})
}

// walk calls link before it follows a symlink, and missing for a name that is not a directory.
// ".." stops at the image's root, so no symlink leads out of it.
func (m *merger) walk(parts []string, link func(dirent) error, missing func(nodeID, string) (nodeID, error)) (nodeID, error) {
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
				return 0, fmt.Errorf("too many symlinks in the path: more than %d", maxSymlinks)
			}
			if err := link(e); err != nil {
				return 0, err
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
