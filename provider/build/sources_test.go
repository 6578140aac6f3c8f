package build

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSourcesLeaveOutFilesThatTheKeyIgnores(t *testing.T) {
	tests := map[string]struct {
		ignore string
		paths  map[string]bool // left out
	}{
		"only .git without an ignore file":     {"", map[string]bool{"src/main.c": false, ".git/index": true, "src/.git/index": true}},
		"ignored files and directories":        {"notes\n*.log\n", map[string]bool{"notes/todo": true, "a.log": true, "src/a.log": false}},
		"a later pattern includes files again": {"notes\n!notes/keep\n", map[string]bool{"notes/todo": true, "notes/keep": false}},
	}
	for name, tt := range tests {
		s := sources(t)
		if tt.ignore != "" {
			write(t, s.Context, ".dockerignore", tt.ignore)
		}
		for path, want := range tt.paths {
			write(t, s.Context, path, "1")
			before := key(t, s)
			write(t, s.Context, path, "2")
			if same := key(t, s) == before; same != want {
				t.Errorf("%s: the key is the same when %s changes: %v", name, path, same)
			}
			if got := leftOut(s.Sources(), path); got != want {
				t.Errorf("%s: %s is left out: %v, want %v", name, path, got, want)
			}
		}
	}
}

// leftOut reports whether a walk of the context skips path.
func leftOut(s Sources, path string) bool {
	for i, c := range path {
		if c == '/' && s.LeftOut(path[:i], true) {
			return true
		}
	}
	return s.LeftOut(path, false)
}

func TestSourcesListDockerfilesAndIgnoreFiles(t *testing.T) {
	s := sources(t)
	s.Project = filepath.Join(s.Context, "machines.hcl")
	got := strings.Join(slices.Sorted(slices.Values(s.Sources().Files)), "\n")
	if want := strings.ReplaceAll(".dockerignore\nContainerfile\nContainerfile.dockerignore\nDockerfile\nDockerfile.dockerignore", "\n", "\n"+s.Context+"/"); got != s.Context+"/"+want {
		t.Errorf("the files are\n%s", got)
	}
	if !s.Sources().LeftOut("machines.hcl", false) {
		t.Error("the project file counts as a source")
	}
	s.Dockerfile = "/elsewhere/Dockerfile.dev"
	if files := s.Sources().Files; !slices.Contains(files, "/elsewhere/Dockerfile.dev") || !slices.Contains(files, "/elsewhere/Dockerfile.dev.dockerignore") {
		t.Errorf("the files are %q", files)
	}
}
