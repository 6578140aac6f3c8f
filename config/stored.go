package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// lookup looks up names in directories.
type lookup struct {
	stat    func(path string) (fs.FileInfo, error)
	readDir func(path string) ([]fs.DirEntry, error)
}

var hostLookup = lookup{os.Lstat, os.ReadDir}

// stored returns the path with every name spelled as the file system stores it. A file
// system that ignores case, such as macOS', accepts many spellings of one name.
func (l lookup) stored(path string) string {
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	parent = l.stored(parent)
	return filepath.Join(parent, l.storedName(parent, filepath.Base(path)))
}

func (l lookup) storedName(parent, name string) string {
	swapped := strings.Map(swapCase, name)
	if swapped == name {
		return name
	}
	same, err1 := l.stat(filepath.Join(parent, name))
	other, err2 := l.stat(filepath.Join(parent, swapped))
	if err1 != nil || err2 != nil || !os.SameFile(same, other) {
		return name // case matters here
	}
	entries, _ := l.readDir(parent) // if the directory cannot be read, keep the given name
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.EqualFold(e.Name(), name) && os.SameFile(info, same) {
			return e.Name()
		}
	}
	return name
}

func swapCase(r rune) rune {
	if unicode.IsUpper(r) {
		return unicode.ToLower(r)
	}
	return unicode.ToUpper(r)
}
