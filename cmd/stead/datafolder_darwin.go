package main

import "path/filepath"

// dataFolder is where programs keep a user's data.
func dataFolder(home string) string { return filepath.Join(home, "Library", "Application Support") }
