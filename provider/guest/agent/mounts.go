//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// mountPoint is a kernel file system and its mount point.
type mountPoint struct {
	source, target, kind string
	flags                uintptr
	data                 string
	optional             bool // the kernel may not support it
}

// earlyMounts are the mounts of the initramfs. They are moved into the root later.
var earlyMounts = []mountPoint{
	{source: "devtmpfs", target: "/dev", kind: "devtmpfs", flags: unix.MS_NOSUID, data: "mode=755"},
	{source: "proc", target: "/proc", kind: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{source: "sysfs", target: "/sys", kind: "sysfs", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{source: "tmpfs", target: "/run", kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=755"},
}

// lateMounts are mounts that an init expects, or mounts itself if they are missing. The
// group of terminals is 5 in all distributions (systemd's TTY_GID).
var lateMounts = []mountPoint{
	{source: "devpts", target: "/dev/pts", kind: "devpts", flags: unix.MS_NOSUID | unix.MS_NOEXEC, data: "gid=5,mode=620,ptmxmode=666"},
	{source: "tmpfs", target: "/dev/shm", kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=1777"},
	{source: "cgroup2", target: "/sys/fs/cgroup", kind: "cgroup2", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, data: "nsdelegate,memory_recursiveprot", optional: true},
}

func mountAll(points []mountPoint, root string) error {
	for _, m := range points {
		target := filepath.Join(root, m.target)
		err := os.MkdirAll(target, 0o755)
		if err == nil {
			err = unix.Mount(m.source, target, m.kind, m.flags, m.data)
		}
		if err != nil && !m.optional && !errors.Is(err, unix.EBUSY) { // the kernel may have mounted /dev itself
			return fmt.Errorf("mount %s on %s: %w", m.kind, target, err)
		}
	}
	return nil
}

// openConsole opens the console as the standard streams of process 1. The kernel does that
// only if the initramfs has a device file for it.
func openConsole() {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return
	}
	for std := range 3 {
		if fd != std {
			_ = unix.Dup3(fd, std, 0)
		}
	}
	if fd > 2 {
		unix.Close(fd)
	}
}

// mountShares mounts the host's directories. It runs in the machine's root, so that links
// such as /lib resolve correctly.
func mountShares(shares []guest.Mount) error {
	var problems []error
	for _, s := range shares {
		problems = append(problems, mountShare(s))
	}
	return errors.Join(problems...)
}

func mountShare(s guest.Mount) error {
	err := makeDirs("/", s.Target, 0o755)
	if err == nil {
		var flags uintptr = unix.MS_NOSUID | unix.MS_NODEV
		if s.ReadOnly {
			flags |= unix.MS_RDONLY
		}
		err = unix.Mount(s.Tag, s.Target, "virtiofs", flags, "")
	}
	if err != nil {
		return fmt.Errorf("mount the host's directory %q on %s: %w", s.Tag, s.Target, err)
	}
	return nil
}
