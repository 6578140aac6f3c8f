package follow

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

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
	f.told() // a look at intervals may have been first to see it
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
