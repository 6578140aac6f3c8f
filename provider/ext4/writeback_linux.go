package ext4

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to start storing a range of f, which leaves less work
// for the final fsync. That fsync also reports any errors.
func startWriteback(f io.WriterAt, off, size int64) {
	if f, ok := f.(*os.File); ok {
		_ = unix.SyncFileRange(int(f.Fd()), off, size, unix.SYNC_FILE_RANGE_WRITE)
	}
}
