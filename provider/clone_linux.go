package provider

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// shareBlocks makes dst a reflink of in (FICLONE: btrfs, XFS, bcachefs, ZFS).
func shareBlocks(dst string, in *os.File) (bool, error) {
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	defer out.Close()
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil, nil
}

// Whence values of lseek.
const (
	seekData = unix.SEEK_DATA
	seekHole = unix.SEEK_HOLE
)

// copyRange copies up to n bytes at off from in to the same place in out, in the
// kernel where it can.
func copyRange(out, in *os.File, off, n int64) (int64, error) {
	from, to := off, off
	done, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, int(n), 0)
	if err == nil && done > 0 {
		return int64(done), nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO) {
		return 0, err
	}
	return io.Copy(io.NewOffsetWriter(out, off), io.NewSectionReader(in, off, n))
}
