package follow

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for news, silence how long it wants none.
const (
	patience = 20 * time.Second
	silence  = 150 * time.Millisecond
)

// following is a Follower in a folder, and what it tells.
type following struct {
	*Follower
	t       *testing.T
	dir     string
	changed chan struct{}
}

func follow(t *testing.T, poll bool) *following {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &following{t: t, dir: dir, changed: make(chan struct{}, 1)}
	f.Follower = New(Options{Poll: poll, Interval: 20 * time.Millisecond, Changed: func() {
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *following) path(rel string) string { return filepath.Join(f.dir, rel) }

// do runs one line of a script: what people and programs do to files.
func (f *following) do(line string) {
	f.t.Helper()
	w := strings.Fields(line)
	var err error
	switch w[0] {
	case "write":
		err = os.WriteFile(f.path(w[1]), []byte(fmt.Sprint(line, time.Now())), 0o644)
	case "mkdir":
		err = os.MkdirAll(f.path(w[1]), 0o755)
	case "rename":
		err = os.Rename(f.path(w[1]), f.path(w[2]))
	case "link":
		err = os.Symlink(w[1], f.path(w[2]))
	case "remove":
		err = os.RemoveAll(f.path(w[1]))
	case "chmod":
		err = os.Chmod(f.path(w[1]), 0o600)
	default:
		f.t.Fatalf("unknown: %s", line)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// tells wants news of what was just done, and then looks again, as whoever follows does.
func (f *following) tells(what string, paths []Path) {
	f.t.Helper()
	select {
	case <-f.changed:
	case <-time.After(patience):
		f.t.Fatalf("nothing is told of %q", what)
	}
	f.settle(paths)
}

// settle begins anew: all that was done before is seen.
func (f *following) settle(paths []Path) {
	f.Follow(paths...)
	for quiet := false; !quiet; {
		select {
		case <-f.changed:
		case <-time.After(silence / 3):
			quiet = true
		}
	}
}

// tellsNothing wants no news of what lines do. On a busy host news of what was before may
// come late, but not each time.
func (f *following) tellsNothing(lines []string, paths []Path) {
	f.t.Helper()
	for range 3 {
		f.settle(paths)
		for _, line := range lines {
			f.do(line)
		}
		select {
		case <-f.changed:
		case <-time.After(silence):
			return
		}
	}
	f.t.Errorf("something is told of %q", lines)
}

func TestFollowerTells(t *testing.T) {
	file := []Path{{Name: "p/machines.hcl"}}
	tree := []Path{{Name: "context", Tree: true, Skip: func(rel string, folder bool) bool {
		return rel == ".git" || folder && filepath.Base(rel) == "node_modules" || strings.HasSuffix(rel, ".log")
	}}}
	tests := map[string]struct {
		paths  []Path
		before []string
		tell   []string // each is told
		not    []string // of none of them anything is told
	}{
		"of a file that is written, and nothing beside it": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"write p/machines.hcl", "chmod p/machines.hcl", "remove p/machines.hcl", "write p/machines.hcl"},
			not:  []string{"write p/other", "mkdir p/folder", "write p/folder/machines.hcl"},
		},
		"of a file that an editor replaces by another one": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl", "write p/new", "write p/newer"},
			tell: []string{"rename p/new p/machines.hcl", "rename p/newer p/machines.hcl", "write p/machines.hcl"},
		},
		"of a file that goes and comes": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"remove p/machines.hcl", "write p/machines.hcl", "rename p/machines.hcl p/old", "rename p/old p/machines.hcl"},
		},
		"of a file whose folder goes and comes": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"remove p", "mkdir p", "write p/machines.hcl", "rename p q", "rename q p", "write p/machines.hcl"},
		},
		"of a file in folders that are not there yet": {
			paths: []Path{{Name: "a/b/c/file"}},
			tell:  []string{"mkdir a", "mkdir a/b/c", "write a/b/c/file", "write a/b/c/file"},
			not:   []string{"write b"},
		},
		"of a file in a folder whose parent gets another name": {
			paths: []Path{{Name: "a/b/c/file"}}, before: []string{"mkdir a/b/c", "write a/b/c/file"},
			tell: []string{"rename a x", "rename x a", "write a/b/c/file"},
		},
		"of a link to a file, and of the file": {
			paths: file, before: []string{"mkdir p", "mkdir dots", "write dots/one", "write dots/two", "link ../dots/one p/machines.hcl"},
			tell: []string{"write dots/one", "remove p/machines.hcl", "link ../dots/two p/machines.hcl", "write dots/two"},
			not:  []string{"write dots/one"},
		},
		"of a folder's link that is turned to another folder": {
			paths: []Path{{Name: "now/file"}}, before: []string{"mkdir v1", "mkdir v2", "write v1/file", "write v2/file", "link v1 now", "link v2 next"},
			tell: []string{"write v1/file", "rename next now", "write v2/file"},
			not:  []string{"write v1/file"},
		},
		"of a link that leads nowhere, and in a circle": {
			paths: []Path{{Name: "nowhere"}, {Name: "circle"}}, before: []string{"link there nowhere", "link circle circle"},
			tell: []string{"write there", "write nowhere", "remove circle", "write circle"},
		},
		"of everything in a tree that is not skipped": {
			paths: tree, before: []string{"mkdir context/a/node_modules", "mkdir context/.git", "write context/a/file"},
			tell: []string{
				"write context/file", "write context/a/file", "mkdir context/a/b/c", "write context/a/b/c/file", "chmod context/file",
				"rename context/a context/moved", "write context/moved/b/c/file", "mkdir context/a/b/c", "rename context/a context/0",
				"rename context/moved context/a", "write context/a/b/c/file", "write context/0/b/c/file", "remove context/a", "link nowhere context/link",
			},
			not: []string{
				"write context/.git/index", "write context/x.log", "write beside",
			},
		},
		"of nothing in a skipped folder": {
			paths: tree, before: []string{"mkdir context/a/node_modules/b", "mkdir context/.git"},
			tell: []string{"write context/a/file"},
			not:  []string{"write context/a/node_modules/b/file", "mkdir context/a/node_modules/c", "write context/.git/index"},
		},
		"of a tree that is not there yet, goes, and is a link": {
			paths: []Path{{Name: "context", Tree: true}}, before: []string{"mkdir real/a"},
			tell: []string{"mkdir context/a", "write context/a/file", "remove context", "link real context", "write real/a/file", "write real/b"},
		},
	}
	for name, tt := range tests {
		for _, poll := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s (polling: %v)", name, poll), func(t *testing.T) {
				t.Parallel()
				f := follow(t, poll)
				var paths []Path
				for _, p := range tt.paths {
					p.Name = f.path(p.Name)
					paths = append(paths, p)
				}
				for _, line := range tt.before {
					f.do(line)
				}
				f.settle(paths)
				for _, line := range tt.tell {
					f.do(line)
					f.tells(line, paths)
				}
				f.tellsNothing(tt.not, paths)
			})
		}
	}
}

func TestFollowerGoesOnByItselfInFoldersThatComeAtOnce(t *testing.T) {
	f := follow(t, false)
	f.do("mkdir context")
	f.do("mkdir outside/a/b/c")
	paths := []Path{{Name: f.path("context"), Tree: true}}
	f.settle(paths)
	f.do("rename outside context/inside")
	<-f.changed
	// Nobody has called Follow since.
	f.mu.Lock()
	known := f.seen.folders[f.path("context/inside/a/b/c")]
	f.mu.Unlock()
	if !known {
		t.Error("a new folder is not watched")
	}
	f.do("write context/inside/a/b/c/file")
	f.tells("a file in a new folder", paths)
}

func TestFollowerLooksByItselfWhenTheSystemCannotTell(t *testing.T) {
	f := follow(t, false)
	f.do("write file")
	paths := []Path{{Name: f.path("file")}, {Name: f.path("context"), Tree: true}}
	f.do("mkdir context")
	f.settle(paths)
	f.mu.Lock()
	f.poll("no room for more watches", f.dir)
	f.mu.Unlock()
	f.settle(paths)
	f.do("write file")
	f.tells("a file", paths)
	f.do("write context/file")
	f.tells("a file in a tree", paths)
}
