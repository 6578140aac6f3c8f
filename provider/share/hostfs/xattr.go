//go:build linux

package hostfs

import (
	"bytes"
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// aclPrefix names POSIX access lists. The guest's kernel would not obey them, and
// setting one changes a file's mode behind its back. "Not supported" is also an
// answer that ls remembers, so that listing a folder does not ask for each file.
const aclPrefix = "system.posix_acl_"

// Getxattr reads an attribute, or its size when dest is empty.
func (n *node) Getxattr(_ context.Context, attr string, dest []byte) (size uint32, e syscall.Errno) {
	if strings.HasPrefix(attr, aclPrefix) {
		return 0, syscall.EOPNOTSUPP
	}
	e = n.with(func(fd int) error {
		got, err := unix.Getxattr(procPath(fd), attr, dest)
		size = uint32(max(got, 0))
		return err
	})
	return size, e
}

// Setxattr writes an attribute.
func (n *node) Setxattr(_ context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	if strings.HasPrefix(attr, aclPrefix) {
		return syscall.EOPNOTSUPP
	}
	return n.with(func(fd int) error { return unix.Setxattr(procPath(fd), attr, data, int(flags)) })
}

// Removexattr removes an attribute.
func (n *node) Removexattr(_ context.Context, attr string) syscall.Errno {
	if strings.HasPrefix(attr, aclPrefix) {
		return syscall.EOPNOTSUPP
	}
	return n.with(func(fd int) error { return unix.Removexattr(procPath(fd), attr) })
}

// Listxattr lists the names that Getxattr answers to.
func (n *node) Listxattr(_ context.Context, dest []byte) (size uint32, e syscall.Errno) {
	const most = 64 << 10 // XATTR_LIST_MAX of linux/limits.h
	e = n.with(func(fd int) error {
		all := make([]byte, most)
		got, err := unix.Listxattr(procPath(fd), all)
		if err != nil {
			return err
		}
		var names []byte
		for name := range bytes.SplitAfterSeq(all[:got], []byte{0}) {
			if !bytes.HasPrefix(name, []byte(aclPrefix)) {
				names = append(names, name...)
			}
		}
		size = uint32(len(names))
		if len(dest) > 0 && copy(dest, names) < len(names) {
			return unix.ERANGE
		}
		return nil
	})
	return size, e
}
