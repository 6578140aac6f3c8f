package build

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sources creates a context with a Dockerfile and two files.
func sources(t *testing.T) Spec {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "Dockerfile", "FROM local/base\nCOPY . /\n")
	write(t, dir, "src/main.c", "int main;")
	write(t, dir, "notes/todo", "sleep")
	return Spec{
		Context: dir, Platform: "linux/amd64",
		Known: []Base{{Name: "local/base:latest", Digest: "sha256:1"}, {Name: "local/other:latest", Digest: "sha256:2"}},
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T, s Spec) string {
	t.Helper()
	k, err := s.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheKeyCoversAllInputsOfTheImage(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, s *Spec)
		same   bool
	}{
		"a file's content":   {change: func(t *testing.T, s *Spec) { write(t, s.Context, "src/main.c", "int mein;") }},
		"a new file":         {change: func(t *testing.T, s *Spec) { write(t, s.Context, "src/new", "") }},
		"an empty directory": {change: func(t *testing.T, s *Spec) { must(t, os.Mkdir(filepath.Join(s.Context, "var"), 0o755)) }},
		"a removed file":     {change: func(t *testing.T, s *Spec) { must(t, os.Remove(filepath.Join(s.Context, "src/main.c"))) }},
		"a file's name":      {change: func(t *testing.T, s *Spec) { rename(t, s, "src/main.c", "src/mein.c") }},
		"a file's mode":      {change: func(t *testing.T, s *Spec) { must(t, os.Chmod(filepath.Join(s.Context, "src/main.c"), 0o755)) }},
		"a symlink's target": {change: func(t *testing.T, s *Spec) { link(t, s, "b", "link") }},
		"the Dockerfile":     {change: func(t *testing.T, s *Spec) { write(t, s.Context, "Dockerfile", "FROM local/base\nCOPY src /\n") }},
		"another Dockerfile": {change: func(t *testing.T, s *Spec) {
			s.Dockerfile = filepath.Join(t.TempDir(), "D")
			write(t, filepath.Dir(s.Dockerfile), "D", "FROM x")
		}},
		"the stage":             {change: func(_ *testing.T, s *Spec) { s.Target = "dev" }},
		"an argument":           {change: func(_ *testing.T, s *Spec) { s.Args = map[string]string{"A": "1"} }},
		"the platform":          {change: func(_ *testing.T, s *Spec) { s.Platform = "linux/arm64" }},
		"an imported base":      {change: func(_ *testing.T, s *Spec) { s.Known[0].Digest = "sha256:3" }},
		"a base in an argument": {change: func(_ *testing.T, s *Spec) { s.Args = map[string]string{"BASE": "local/other"} }},

		"times":                 {same: true, change: func(t *testing.T, s *Spec) { touch(t, s, "src/main.c") }},
		"an unused known image": {same: true, change: func(_ *testing.T, s *Spec) { s.Known[1].Digest = "sha256:3" }},
		"the .git directory":    {same: true, change: func(t *testing.T, s *Spec) { write(t, s.Context, ".git/HEAD", "main") }},
		"a submodule's file":    {same: true, change: func(t *testing.T, s *Spec) { write(t, s.Context, "src/.git", "gitdir: x") }},
		"the context's path":    {same: true, change: move},
		"a socket":              {same: true, change: func(t *testing.T, s *Spec) { listen(t, filepath.Join(s.Context, "s")) }},
		"the project file": {same: true, change: func(t *testing.T, s *Spec) {
			write(t, s.Context, "machines.hcl", "x")
			s.Project = filepath.Join(s.Context, "machines.hcl")
		}},
		"the default Dockerfile, explicitly": {same: true, change: func(_ *testing.T, s *Spec) { s.Dockerfile = filepath.Join(s.Context, "Dockerfile") }},
		"the order of the images":            {same: true, change: func(_ *testing.T, s *Spec) { slices.Reverse(s.Known) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := sources(t)
			link(t, &s, "a", "link")
			before := key(t, s)
			if len(before) != 64 {
				t.Errorf("the key %q does not have 64 digits", before)
			}
			s.Known = slices.Clone(s.Known)
			tt.change(t, &s)
			if after := key(t, s); (after == before) != tt.same {
				t.Errorf("the key before and after is %s, %s; want the same: %t", before, after, tt.same)
			}
		})
	}
}

func rename(t *testing.T, s *Spec, from, to string) {
	t.Helper()
	must(t, os.Rename(filepath.Join(s.Context, from), filepath.Join(s.Context, to)))
}

func link(t *testing.T, s *Spec, target, name string) {
	t.Helper()
	path := filepath.Join(s.Context, name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	must(t, os.Symlink(target, path))
}

func touch(t *testing.T, s *Spec, name string) {
	t.Helper()
	must(t, os.Chtimes(filepath.Join(s.Context, name), time.Unix(1, 0), time.Unix(1, 0)))
}

func move(t *testing.T, s *Spec) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.Rename(s.Context, to))
	s.Context = to
}

func listen(t *testing.T, path string) {
	t.Helper()
	t.Chdir(filepath.Dir(path)) // a socket's path must be short
	l, err := net.Listen("unix", filepath.Base(path))
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

func TestIgnoredFilesDoNotCount(t *testing.T) {
	tests := map[string]struct {
		ignore map[string]string // files with patterns, and their content
		change string            // a file that changes
		same   bool
	}{
		"an ignored file":           {map[string]string{".dockerignore": "notes"}, "notes/todo", true},
		"a file beside it":          {map[string]string{".dockerignore": "notes"}, "src/main.c", false},
		"a file included again":     {map[string]string{".dockerignore": "*\n!src"}, "src/main.c", false},
		"a file that stays ignored": {map[string]string{".dockerignore": "*\n!src"}, "notes/todo", true},
		"a comment":                 {map[string]string{".dockerignore": "# notes"}, "notes/todo", false},
		"the Dockerfile's own ignore file": {
			map[string]string{".dockerignore": "src", "Dockerfile.dockerignore": "notes"}, "src/main.c", false,
		},
		"the Dockerfile's ignore file replaces the context's": {
			map[string]string{".dockerignore": "src", "Dockerfile.dockerignore": "notes"}, "notes/todo", true,
		},
		"an ignored Dockerfile counts": {map[string]string{".dockerignore": "Dockerfile"}, "Dockerfile", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := sources(t)
			for file := range maps.Keys(tt.ignore) {
				write(t, s.Context, file, tt.ignore[file])
			}
			before := key(t, s)
			write(t, s.Context, tt.change, "changed")
			if after := key(t, s); (after == before) != tt.same {
				t.Errorf("after a change of %s: want the same key: %t", tt.change, tt.same)
			}
		})
	}
}

func TestErrorsOfSourcesNameThePath(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, s *Spec)
		want   string
	}{
		"no context":                 {func(_ *testing.T, s *Spec) { s.Context += "/none" }, "/none: no such file"},
		"a file as context":          {func(_ *testing.T, s *Spec) { s.Context += "/Dockerfile" }, "/Dockerfile: not a directory"},
		"no Dockerfile":              {func(t *testing.T, s *Spec) { must(t, os.Remove(s.Context+"/Dockerfile")) }, "/Dockerfile: no such file"},
		"no Dockerfile of that name": {func(_ *testing.T, s *Spec) { s.Dockerfile = s.Context + "/D" }, "/D: no such file"},
		"a bad pattern":              {func(t *testing.T, s *Spec) { write(t, s.Context, ".dockerignore", "[") }, "/.dockerignore: "},
		"a directory as Dockerfile":  {func(_ *testing.T, s *Spec) { s.Dockerfile = s.Context }, " is a directory, not a regular file"},
		"a pipe as Dockerfile":       {replace("Dockerfile", fifo), "/Dockerfile is a named pipe, not a regular file"},
		"a pipe as ignore file":      {replace(".dockerignore", fifo), "/.dockerignore is a named pipe, not a regular file"},
		"a device as Dockerfile": {
			replace("Dockerfile", func(path string) error { return os.Symlink("/dev/zero", path) }),
			"/Dockerfile is a device, not a regular file",
		},
		"a huge Dockerfile": {
			func(t *testing.T, s *Spec) { must(t, os.Truncate(s.Context+"/Dockerfile", 1<<40)) },
			"/Dockerfile is too large: it has 1.0 TiB, and the limit is 4.0 MiB",
		},
		"a huge ignore file": {
			replace(".dockerignore", func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) }),
			"/.dockerignore is too large",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := sources(t)
			tt.damage(t, &s)
			_, err := s.Key(t.Context())
			var bad *SourceError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) || bad.Remedy() == "" {
				t.Errorf("Key = %v, want a SourceError with %q and a remedy", err, tt.want)
			}
		})
	}
}

// replace returns a damage that makes a file of the context anew.
func replace(name string, by func(path string) error) func(*testing.T, *Spec) {
	return func(t *testing.T, s *Spec) {
		t.Helper()
		path := filepath.Join(s.Context, name)
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			must(t, err)
		}
		must(t, by(path))
	}
}

func fifo(path string) error { return syscall.Mkfifo(path, 0o600) }

// A pipe in a context counts by its type: nothing is read from it.
func TestAPipeInTheContextIsNotRead(t *testing.T) {
	s := sources(t)
	before := key(t, s)
	must(t, fifo(filepath.Join(s.Context, "pipe")))
	if key(t, s) == before {
		t.Error("a pipe in the context does not change the key")
	}
}

func TestAContainerfileIsADefault(t *testing.T) {
	s := sources(t)
	rename(t, &s, "Dockerfile", "Containerfile")
	key(t, s)
}
