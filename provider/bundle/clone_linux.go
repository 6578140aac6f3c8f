package bundle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ShareBlocks makes dst a reflink of in (FICLONE: btrfs, XFS, bcachefs, ZFS).
func ShareBlocks(dst string, in *os.File) (bool, error) {
	out, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	defer out.Close()
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil, nil
}

// nextData returns the first data range of f at or after off. start is size if only a hole is
// left.
func nextData(f *os.File, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	return start, end, err
}

// copyRange copies up to n bytes at off from in to the same place in out, inside the kernel if
// possible.
func copyRange(out, in *os.File, off, n int64) (int64, error) {
	from, to := off, off
	done, err := unix.CopyFileRange(int(in.Fd()), &from, int(out.Fd()), &to, int(n), 0)
	if err == nil && done > 0 {
		return int64(done), nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO) {
		return 0, err
	}
	return n, copyOccupied(out, in, off, n)
}
