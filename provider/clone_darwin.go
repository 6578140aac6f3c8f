package provider

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// shareBlocks makes dst a clone of in (clonefile: APFS).
func shareBlocks(dst string, in *os.File) (bool, error) {
	return unix.Clonefile(in.Name(), dst, unix.CLONE_NOFOLLOW) == nil, nil
}

// Whence values of lseek on macOS (sys/unistd.h).
const (
	seekHole = 3
	seekData = 4
)

// copyRange copies up to n bytes at off from in to the same place in out.
func copyRange(out, in *os.File, off, n int64) (int64, error) {
	return io.Copy(io.NewOffsetWriter(out, off), io.NewSectionReader(in, off, n))
}
