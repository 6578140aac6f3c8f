package host

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/size"
)

// Memory returns the host's memory in bytes.
func Memory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 * size.GiB
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// AvailableMemory returns how much memory new machines can use before the host swaps, in
// bytes: MemAvailable of proc_meminfo(5).
func AvailableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return Memory()
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return Memory()
}
