//go:build unix

package space

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/size"
)

// Free returns how many bytes an ordinary user can still write to the file system of dir.
func Free(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:gosec,unconvert // types differ by system
}

// NoRoomError reports that something does not fit on the host's disk, before it is written.
type NoRoomError struct {
	What       string // "image debian:12"
	Dir        string
	Need, Free int64 // bytes
}

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("not enough space: %s needs %s, %s has %s free", e.What, size.Measured(e.Need), e.Dir, size.Measured(e.Free))
}

// Remedy says what to free.
func (e *NoRoomError) Remedy() string { return (&FullError{}).Remedy() }
