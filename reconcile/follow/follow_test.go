package follow

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestFollower(t *testing.T) {
	file := []Path{{Name: "p/machines.hcl"}}
	tree := []Path{{Name: "context", Tree: true, Skip: func(rel string, dir bool) bool {
		return rel == ".git" || dir && filepath.Base(rel) == "node_modules" || strings.HasSuffix(rel, ".log")
	}}}
	tests := map[string]struct {
		paths  []Path
		before []string
		tell   []string // each is reported
		not    []string // none is reported
	}{
		"a file that is written, and nothing else": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"write p/machines.hcl", "chmod p/machines.hcl", "remove p/machines.hcl", "write p/machines.hcl"},
			not:  []string{"write p/other", "mkdir p/folder", "write p/folder/machines.hcl"},
		},
		"a file that an editor replaces": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl", "write p/new", "write p/newer"},
			tell: []string{"rename p/new p/machines.hcl", "rename p/newer p/machines.hcl", "write p/machines.hcl"},
		},
		"a file that is removed and created": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"remove p/machines.hcl", "write p/machines.hcl", "rename p/machines.hcl p/old", "rename p/old p/machines.hcl"},
		},
		"a file whose directory is removed and created": {
			paths: file, before: []string{"mkdir p", "write p/machines.hcl"},
			tell: []string{"remove p", "mkdir p", "write p/machines.hcl", "rename p q", "rename q p", "write p/machines.hcl"},
		},
		"a file in directories that do not exist yet": {
			paths: []Path{{Name: "a/b/c/file"}},
			tell:  []string{"mkdir a", "mkdir a/b/c", "write a/b/c/file", "write a/b/c/file"},
			not:   []string{"write b"},
		},
		"a file in a directory whose parent is renamed": {
			paths: []Path{{Name: "a/b/c/file"}}, before: []string{"mkdir a/b/c", "write a/b/c/file"},
			tell: []string{"rename a x", "rename x a", "write a/b/c/file"},
		},
		"a link to a file, and the file": {
			paths: file, before: []string{"mkdir p", "mkdir dots", "write dots/one", "write dots/two", "link ../dots/one p/machines.hcl"},
			tell: []string{"write dots/one", "remove p/machines.hcl", "link ../dots/two p/machines.hcl", "write dots/two"},
			not:  []string{"write dots/one"},
		},
		"a link to a directory that changes to another directory": {
			paths: []Path{{Name: "now/file"}}, before: []string{"mkdir v1", "mkdir v2", "write v1/file", "write v2/file", "link v1 now", "link v2 next"},
			tell: []string{"write v1/file", "rename next now", "write v2/file"},
			not:  []string{"write v1/file"},
		},
		"a dangling link, and a cycle of links": {
			paths: []Path{{Name: "nowhere"}, {Name: "circle"}}, before: []string{"link there nowhere", "link circle circle"},
			tell: []string{"write there", "write nowhere", "remove circle", "write circle"},
		},
		"everything in a tree that is not skipped": {
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
		"nothing in a skipped directory": {
			paths: tree, before: []string{"mkdir context/a/node_modules/b", "mkdir context/.git"},
			tell: []string{"write context/a/file"},
			not:  []string{"write context/a/node_modules/b/file", "mkdir context/a/node_modules/c", "write context/.git/index"},
		},
		"a tree that does not exist yet, is removed, and is a link": {
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
					f.expect(line, paths)
				}
				f.expectNone(tt.not, paths)
			})
		}
	}
}

func TestFollowerWatchesMovedInDirectories(t *testing.T) {
	f := follow(t, false)
	f.do("mkdir context")
	f.do("mkdir outside/a/b/c")
	paths := []Path{{Name: f.path("context"), Tree: true}}
	f.settle(paths)
	f.do("rename outside context/inside")
	<-f.changed
	f.reported() // a check may have seen it first
	// Follow was not called since.
	f.mu.Lock()
	known := f.seen.dirs[f.path("context/inside/a/b/c")]
	f.mu.Unlock()
	if !known {
		t.Error("a new directory is not watched")
	}
	f.do("write context/inside/a/b/c/file")
	f.expect("a file in a new directory", paths)
}

func TestFollowerSwitchesToPolling(t *testing.T) {
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
	f.expect("a file", paths)
	f.do("write context/file")
	f.expect("a file in a tree", paths)
}
