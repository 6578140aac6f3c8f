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

// AvailableMemory returns what new machines can have of the host's memory, in bytes:
// all of it, for macOS compresses and drops what is not used.
func AvailableMemory() int64 { return Memory() }
