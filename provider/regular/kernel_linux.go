package regular

import "golang.org/x/sys/unix"

// kernelFiles returns the name of the file system of fd if its files are made by the kernel as
// they are read, else "". They count as regular, but some wait (/proc/kmsg) and some do not
// end (trace_pipe).
func kernelFiles(fd int) string {
	var s unix.Statfs_t
	if unix.Fstatfs(fd, &s) != nil {
		return ""
	}
	switch int64(s.Type) { //nolint:unconvert // its size depends on the architecture
	case unix.PROC_SUPER_MAGIC:
		return "procfs"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.TRACEFS_MAGIC:
		return "tracefs"
	case unix.DEBUGFS_MAGIC:
		return "debugfs"
	}
	return ""
}
