package follow

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxLinks is how many links a path may have: what Linux allows (path_resolution(7)).
const maxLinks = 40

// sight is what one look at the followed paths has shown. All of its paths are real ones,
// without links: a system tells of a folder under one name alone.
type sight struct {
	enter   func(dir string) bool  // called before something is looked for in a folder
	folders map[string]bool        // those, and what enter said
	names   map[string]stamp       // the followed names, and links on the way to them
	files   map[string]stamp       // what is beneath trees; only for who compares
	trees   map[string]treeOptions // by their folders
}

type treeOptions struct {
	skip func(rel string, folder bool) bool
}

// stamp tells one version of a file from another. The zero stamp is of no file.
type stamp struct {
	mode  fs.FileMode
	size  int64
	time  time.Time
	inode uint64
}

func newSight(enter func(dir string) bool) *sight {
	return &sight{
		enter: enter, folders: map[string]bool{}, names: map[string]stamp{}, files: map[string]stamp{}, trees: map[string]treeOptions{},
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
		// What is in it counts where it is followed, and is stamped itself.
		s.size, s.time = 0, time.Time{}
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// look looks at paths, and with stamps at the files beneath trees, too.
func (s *sight) look(paths []Path, stamps bool) {
	for _, p := range paths {
		s.lead(p, true, stamps)
	}
}

// lead goes the way to p, and with beneath on into a tree.
func (s *sight) lead(p Path, beneath, stamps bool) {
	real, found := s.way(p.Name)
	if !found || !p.Tree {
		return
	}
	t := treeOptions{p.Skip}
	s.trees[real] = t
	if beneath {
		s.walk(real, t, real, stamps)
	}
}

// way goes to name, entry by entry, and notes those of which it depends where it leads:
// links, what is missing, and its end.
func (s *sight) way(name string) (real string, found bool) {
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
			s.note(dir, path)
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

// note has a name count that is in dir.
func (s *sight) note(dir, path string) {
	s.into(dir)
	s.names[path] = stampAt(path)
}

// restamp takes notice of how a name is now, if it is one that is followed.
func (s *sight) restamp(path string) {
	if _, named := s.names[path]; named {
		s.names[path] = stampAt(path)
	}
}

func (s *sight) into(dir string) {
	s.folders[dir] = s.enter(dir)
}

// entered tells whether it was looked into a folder that an earlier look did not know.
func (s *sight) entered(before *sight) bool {
	for dir := range s.folders {
		if _, known := before.folders[dir]; !known {
			return true
		}
	}
	return false
}

// walk enters the folders of a tree from a folder of it on.
func (s *sight) walk(root string, t treeOptions, from string, stamps bool) {
	// What cannot be read is as if it were not there, until it can.
	_ = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // as said above
		}
		if path != root && t.skips(root, path, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			s.into(path) // before its entries are read
		}
		if stamps {
			if info, err := d.Info(); err == nil {
				s.files[path] = stampOf(info)
			}
		}
		return nil
	})
}

func (t treeOptions) skips(root, path string, folder bool) bool {
	rel, err := filepath.Rel(root, path)
	return err != nil || t.skip != nil && t.skip(rel, folder)
}

// counts tells whether a change of path is one of what is followed.
func (s *sight) counts(path string) bool {
	_, named := s.names[path]
	if _, folder := s.folders[path]; named || folder {
		return true
	}
	_, _, ok := s.tree(path)
	return ok
}

// tree finds a tree in which path counts.
func (s *sight) tree(path string) (root string, t treeOptions, ok bool) {
	for root, t := range s.trees {
		if rest, beneath := strings.CutPrefix(path, root+"/"); beneath && t.reaches(root, rest) {
			return root, t, true
		}
	}
	return "", treeOptions{}, false
}

// reaches tells whether neither the path nor a folder on the way to it is skipped.
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

// grow takes in what has come to be.
func (s *sight) grow(path string) {
	if root, t, ok := s.tree(path); ok {
		s.walk(root, t, path, false)
	}
}
