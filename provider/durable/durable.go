// Package durable makes changes of names outlast a power cut. A rename is atomic, but
// until its directory is synced nothing says when it reaches the disk, nor in what order.
package durable

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile replaces the file at path, whole or not at all, and returns once it is on the
// disk under its name. It is its owner's alone (0600).
func WriteFile(path string, data []byte, opts ...renameio.Option) error {
	if err := renameio.WriteFile(path, data, 0o600, opts...); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir returns once every name made, changed or removed in dir is on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
