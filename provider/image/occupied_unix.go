//go:build unix

package image

import (
	"io/fs"
	"syscall"
)

// allocatedBytes returns the bytes that a file takes on disk, which for a sparse file is far
// less than its size. st_blocks counts units of 512 bytes, whatever the block size is.
func allocatedBytes(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
