//go:build unix

package space

import (
	"io/fs"
	"syscall"
)

// occupied returns the bytes that a file takes on the disk, which for a sparse one is far less than
// its size. st_blocks counts units of 512 bytes whatever the file system's are.
func occupied(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
