//go:build !linux

package ext4

import "io"

// startWriteback does nothing: only Linux has sync_file_range.
func startWriteback(io.WriterAt, int64, int64) {}
