//go:build !linux

package ext4

import "io"

// startWriteback does nothing where the kernel cannot be told.
func startWriteback(io.WriterAt, int64, int64) {}
