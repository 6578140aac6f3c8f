package main

import (
	"os"
	"path/filepath"
)

// dataDir is where programs keep a user's data: $XDG_DATA_HOME of the XDG Base
// Directory Specification.
func dataDir(home string) string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(home, ".local", "share")
}
