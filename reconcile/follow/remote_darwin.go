package follow

import "golang.org/x/sys/unix"

// remote reports whether a directory is on a file system of another host. The system does not
// report changes that other hosts make.
func remote(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.MNT_LOCAL == 0
}
