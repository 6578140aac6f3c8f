package share

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of the memory of a server's process, in bytes. The other limits of this package keep a
// guest below them: what it knows and has open takes up to 1 GiB, and requests in progress up
// to 300 MiB.
const (
	softMemory = 1 << 30 // beyond it, Go collects garbage more often
	hardMemory = 2 << 30 // beyond it, the process ends
)

// LimitMemory limits the memory of this process to 2 GiB. The guest's memory, which it maps
// shared, does not count. A process that needs more ends: it must serve one share and do
// nothing else.
func LimitMemory() error {
	debug.SetMemoryLimit(softMemory)
	// Since Linux 4.7, RLIMIT_DATA limits private writable mappings, in which Go has its heap
	// and stacks. RLIMIT_AS would count the guest's memory and Go's reservations.
	used, err := privateMemory()
	if err != nil {
		return fmt.Errorf("limit the memory of the file server: %w", err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limit the memory of the file server: %w", err)
	}
	limit.Max = min(limit.Max, used+hardMemory)
	limit.Cur = min(limit.Cur, limit.Max)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &limit); err != nil {
		return fmt.Errorf("limit the memory of the file server: %w", err)
	}
	return nil
}

// privateMemory returns what counts for RLIMIT_DATA now, in bytes; see VmData in
// proc_pid_status(5).
func privateMemory() (uint64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "VmData:"); ok {
			var kib uint64
			if _, err := fmt.Sscanf(value, "%d kB", &kib); err != nil {
				return 0, fmt.Errorf("read %s: %w", f.Name(), err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("%s has no line for VmData", f.Name()))
}
