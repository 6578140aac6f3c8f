package follow

import "golang.org/x/sys/unix"

// remote tells whether a folder is on a file system of another host, which tells nothing
// of the changes that others make.
func remote(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.MNT_LOCAL == 0
}
