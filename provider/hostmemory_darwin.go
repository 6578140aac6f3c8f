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
