package ext4

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback lets the kernel begin to store a range of f. It is a hint: errors come
// back from the fsync at the end, which the range does not have to wait for any more.
func startWriteback(f io.WriterAt, off, size int64) {
	if f, ok := f.(*os.File); ok {
		_ = unix.SyncFileRange(int(f.Fd()), off, size, unix.SYNC_FILE_RANGE_WRITE)
	}
}
