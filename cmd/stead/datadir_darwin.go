package main

import "path/filepath"

// dataDir is where programs keep a user's data.
func dataDir(home string) string { return filepath.Join(home, "Library", "Application Support") }
