package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// anyCase looks up names below dir like a file system that ignores case.
func anyCase(dir string) lookup {
	find := func(path string) string {
		found := dir
		rest, ok := strings.CutPrefix(path, dir)
		if !ok {
			return path
		}
		for part := range strings.SplitSeq(strings.Trim(rest, "/"), "/") {
			entries, _ := os.ReadDir(found)
			for _, e := range entries {
				if strings.EqualFold(e.Name(), part) {
					part = e.Name()
					break
				}
			}
			found = filepath.Join(found, part)
		}
		return found
	}
	return lookup{
		stat:    func(path string) (fs.FileInfo, error) { return os.Lstat(find(path)) },
		readDir: func(path string) ([]fs.DirEntry, error) { return os.ReadDir(find(path)) },
	}
}

func TestStoredOnACaseInsensitiveFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "Src", "größe", "2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "Src", "größe", "2026")
	for _, given := range []string{"Src/größe/2026", "SRC/größe/2026", "src/GRöße/2026", "sRC/GRÖßE/2026"} {
		if got := anyCase(dir).stored(filepath.Join(dir, given)); got != want {
			t.Errorf("stored(%s) = %s, want %s", given, got, want)
		}
	}
}

func TestStoredOnACaseSensitiveFileSystem(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"src", "SRC", "Only"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"src", "SRC", "Only", "absent"} {
		if got, want := hostLookup.stored(filepath.Join(dir, name)), filepath.Join(dir, name); filepath.Base(got) != filepath.Base(want) {
			t.Errorf("stored(%s) = %s, want the same name", want, got)
		}
	}
}
