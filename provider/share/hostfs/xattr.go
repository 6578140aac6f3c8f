//go:build linux

package hostfs

import (
	"bytes"
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// capabilities is the attribute with a program's capabilities.
const capabilities = "security.capability"

// supported reports whether the guest may use an attribute. Its kernel would not enforce
// POSIX ACLs, and setting one changes a file's mode without its knowledge. Labels such as
// security.selinux belong to the host's policy.
//
// For those the answer is "not supported", which ls remembers: it reads both attributes of
// each file that it lists, and with any other answer "ls -l" of 1,000 files would cost 2,000
// requests.
func supported(attr string) bool {
	switch {
	case strings.HasPrefix(attr, "system.posix_acl_"):
		return false
	case strings.HasPrefix(attr, "security."):
		return attr == capabilities
	}
	return true
}

// Getxattr reads an attribute, or its size if dest is empty.
func (n *node) Getxattr(_ context.Context, attr string, dest []byte) (size uint32, e syscall.Errno) {
	if !supported(attr) {
		return 0, syscall.EOPNOTSUPP
	}
	e = n.with(func(fd int) error {
		got, err := unix.Getxattr(procPath(fd), attr, dest)
		size = uint32(max(got, 0))
		return err
	})
	return size, e
}

// Setxattr writes an attribute. A guest must not give capabilities to a program: they are
// those of the host's users who run it.
func (n *node) Setxattr(_ context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	switch {
	case !supported(attr):
		return syscall.EOPNOTSUPP
	case attr == capabilities:
		return syscall.EPERM
	}
	return n.with(func(fd int) error { return unix.Setxattr(procPath(fd), attr, data, int(flags)) })
}

// Removexattr removes an attribute.
func (n *node) Removexattr(_ context.Context, attr string) syscall.Errno {
	if !supported(attr) {
		return syscall.EOPNOTSUPP
	}
	return n.with(func(fd int) error { return unix.Removexattr(procPath(fd), attr) })
}

// Listxattr lists the supported attributes.
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
			if supported(string(bytes.TrimSuffix(name, []byte{0}))) {
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
