package follow

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxLinks is how many symbolic links a path may have: the limit of Linux (path_resolution(7)).
const maxLinks = 40

// snapshot is the state of the followed paths at one look. Its paths have no symbolic links,
// because the system reports a directory under one name only.
type snapshot struct {
	enter func(dir string) bool  // called before a directory is read
	dirs  map[string]bool        // the results of enter, by directory
	names map[string]stamp       // the followed names, and symbolic links on the way to them
	files map[string]stamp       // the entries of trees, if they are stamped
	trees map[string]treeOptions // by directory
}

type treeOptions struct {
	skip func(rel string, dir bool) bool
}

// stamp identifies a version of a file. The zero stamp means that there is no file.
type stamp struct {
	mode  fs.FileMode
	size  int64
	time  time.Time
	inode uint64
}

func newSnapshot(enter func(dir string) bool) *snapshot {
	return &snapshot{
		enter: enter, dirs: map[string]bool{}, names: map[string]stamp{}, files: map[string]stamp{}, trees: map[string]treeOptions{},
	}
}

func stampAt(path string) stamp {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}
	}
	return stampOf(info)
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{mode: info.Mode(), size: info.Size(), time: info.ModTime()}
	if info.IsDir() {
		// A directory's entries have stamps of their own.
		s.size, s.time = 0, time.Time{}
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// addAll adds paths. With stamps, it also stamps the entries of trees.
func (s *snapshot) addAll(paths []Path, stamps bool) {
	for _, p := range paths {
		s.add(p, true, stamps)
	}
}

// add adds p and, with beneath, the contents of a tree.
func (s *snapshot) add(p Path, beneath, stamps bool) {
	real, found := s.resolve(p.Name)
	if !found || !p.Tree {
		return
	}
	t := treeOptions{p.Skip}
	s.trees[real] = t
	if beneath {
		s.walk(real, t, real, stamps)
	}
}

// resolve follows name entry by entry to its real path. It adds the entries that decide where
// name leads: symbolic links, a missing entry, and the last one.
func (s *snapshot) resolve(name string) (real string, found bool) {
	dir, rest := "/", name
	for links := 0; ; {
		var entry string
		entry, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		last := strings.Trim(rest, "/") == ""
		switch entry {
		case "", ".":
			if last {
				return dir, true
			}
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		path := filepath.Join(dir, entry)
		info, err := os.Lstat(path)
		link := err == nil && info.Mode()&fs.ModeSymlink != 0
		if err != nil || link || last {
			s.addName(dir, path)
		}
		switch {
		case err != nil:
			return "", false
		case link:
			target, err := os.Readlink(path)
			if links++; err != nil || links > maxLinks {
				return "", false
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			rest = target + "/" + rest
		case last:
			return path, true
		default:
			dir = path
		}
	}
}

// addName adds the name path, which is in dir.
func (s *snapshot) addName(dir, path string) {
	s.addDir(dir)
	s.names[path] = stampAt(path)
}

// restamp updates the stamp of a followed name.
func (s *snapshot) restamp(path string) {
	if _, named := s.names[path]; named {
		s.names[path] = stampAt(path)
	}
}

func (s *snapshot) addDir(dir string) {
	s.dirs[dir] = s.enter(dir)
}

// hasNewDir reports whether s has a directory that an earlier snapshot does not have.
func (s *snapshot) hasNewDir(before *snapshot) bool {
	for dir := range s.dirs {
		if _, known := before.dirs[dir]; !known {
			return true
		}
	}
	return false
}

// walk adds the directories of a tree from the directory from on.
func (s *snapshot) walk(root string, t treeOptions, from string, stamps bool) {
	// An entry that cannot be read counts as missing.
	_ = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if path != root && t.skips(root, path, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			s.addDir(path) // before its entries are read
		}
		if stamps {
			if info, err := d.Info(); err == nil {
				s.files[path] = stampOf(info)
			}
		}
		return nil
	})
}

func (t treeOptions) skips(root, path string, dir bool) bool {
	rel, err := filepath.Rel(root, path)
	return err != nil || t.skip != nil && t.skip(rel, dir)
}

// counts reports whether a change of path is to be reported.
func (s *snapshot) counts(path string) bool {
	_, named := s.names[path]
	if _, dir := s.dirs[path]; named || dir {
		return true
	}
	_, _, ok := s.tree(path)
	return ok
}

// tree returns the tree that contains path, unless the tree skips it.
func (s *snapshot) tree(path string) (root string, t treeOptions, ok bool) {
	for root, t := range s.trees {
		if rest, beneath := strings.CutPrefix(path, root+"/"); beneath && t.reaches(root, rest) {
			return root, t, true
		}
	}
	return "", treeOptions{}, false
}

// reaches reports whether neither rel nor one of its parent directories is skipped.
func (t treeOptions) reaches(root, rel string) bool {
	if t.skip == nil {
		return true
	}
	for i, c := range rel {
		if c == '/' && t.skip(rel[:i], true) {
			return false
		}
	}
	info, err := os.Lstat(filepath.Join(root, rel))
	return !t.skip(rel, err == nil && info.IsDir())
}

// addCreated adds a new entry of a tree.
func (s *snapshot) addCreated(path string) {
	if root, t, ok := s.tree(path); ok {
		s.walk(root, t, path, false)
	}
}
