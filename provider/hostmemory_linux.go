package provider

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostMemory is the host's memory in bytes.
func hostMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 * gib
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// AvailableMemory is what new machines can have of the host's memory without driving it
// into its swap, in bytes: MemAvailable of proc_meminfo(5).
func AvailableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return hostMemory()
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return hostMemory()
}
