package provider

import "golang.org/x/sys/unix"

// hostMemory is the host's memory in bytes.
func hostMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 2 * gib
	}
	return int64(n)
}

// AvailableMemory is what new machines can have of the host's memory, in bytes. macOS
// compresses and drops what is not used, so that it is all.
func AvailableMemory() int64 { return hostMemory() }
