// Package durable makes file names survive a power cut. A rename is atomic, but without a
// sync of the directory it may reach the disk late and out of order.
package durable

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFile replaces the file at path atomically and returns once data and name are on the
// disk. The file has mode 0600.
func WriteFile(path string, data []byte, opts ...renameio.Option) error {
	if err := renameio.WriteFile(path, data, 0o600, opts...); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir returns once all names created, changed or removed in dir are on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
