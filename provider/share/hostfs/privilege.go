//go:build linux

package hostfs

import "golang.org/x/sys/unix"

// privileges are the bits of a mode with which a program runs as the file's owner or group.
// A guest must not set them, because the owner is a user of the host. On a directory they
// give no rights; its set-group-ID bit decides the group of new files.
//
// They are removed silently, as chmod(2) removes the set-group-ID bit if the caller is not in
// the group: programs that copy a mode, such as tar and cp, then succeed.
const privileges = unix.S_ISUID | unix.S_ISGID

// setMode changes the mode of n, which is open as fd, possibly with O_PATH.
func (n *node) setMode(fd int, mode uint32) error {
	mode &= 0o7777
	if !n.IsDir() {
		mode &^= privileges
	}
	return unix.Chmod(procPath(fd), mode)
}

// dropPrivileges clears the bits of a file of the host whose content the guest is about to
// change. The host's kernel does that itself unless the server runs as root. It also removes
// the file's capabilities, in both cases.
func (t *tree) dropPrivileges(fd int) error {
	if !t.asRoot {
		return nil
	}
	var st unix.Stat_t // unlike stat, this allocates nothing for each write
	err := unix.Fstat(fd, &st)
	if err != nil || st.Mode&privileges == 0 || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return err
	}
	return unix.Chmod(procPath(fd), st.Mode&0o7777&^privileges)
}
