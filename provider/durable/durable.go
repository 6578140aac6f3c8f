// Package durable makes changes of names outlast a power cut. A rename is atomic, but
// until its folder is synced nothing says when it reaches the disk, nor in what order.
package durable

import (
	"errors"
	"os"
)

// SyncDir returns once every name made, changed or removed in dir is on the disk.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
