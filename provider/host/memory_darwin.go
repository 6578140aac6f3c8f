package host

import (
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/size"
)

// Memory returns the host's memory in bytes.
func Memory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 2 * size.GiB
	}
	return int64(n)
}

// AvailableMemory returns how much memory new machines can use, in bytes: all of the host's,
// because macOS compresses or drops unused memory.
func AvailableMemory() int64 { return Memory() }
