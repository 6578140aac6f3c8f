//go:build linux

package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"github.com/stead-vm/stead/provider/poll"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// newRoot is the initramfs's mount point of the machine's root.
const newRoot = "/newroot"

// Devices appear a moment after their drivers start.
const (
	devicePoll = 2 * time.Millisecond
	deviceWait = 10 * time.Second
)

// await polls until a driver has created something.
func await(what string, found func() bool) error {
	return poll.Loop{Every: devicePoll, Limit: deviceWait}.Until(context.Background(), func(context.Context) error {
		if !found() {
			return errors.New(what + " did not appear")
		}
		return nil
	})
}

// rootOptions makes the file system discard freed blocks in the background after each
// commit. The hypervisor then frees them in the disk's file, so that deleting a file gives
// its space back to the host. Removing 4,000 small files or one of 150 MB took no longer
// than without the option. A periodic fstrim would free space later, and needs a timer that
// images lack.
//
// A remount by the image's init keeps the option, unless its fstab says nodiscard.
const rootOptions = "discard"

// findDisk returns the block device with this serial. sys is the mount point of sysfs.
func findDisk(sys, serial string) (string, bool) {
	files, _ := filepath.Glob(filepath.Join(sys, "block/*/serial")) // the pattern is valid
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(text)) == serial {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(f))), true
		}
	}
	return "", false
}

func canOpen(device string) bool {
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

func mountRoot() error {
	var device string
	err := await("a disk with the serial "+guest.RootSerial, func() (ok bool) {
		device, ok = findDisk("/sys", guest.RootSerial)
		return ok && canOpen(device) // sysfs lists a device a moment before it can be opened
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(device, newRoot, "ext4", 0, rootOptions); err != nil {
		return fmt.Errorf("mount the machine's disk %s: %w", device, err)
	}
	if err := grow(device, newRoot); err != nil {
		return fmt.Errorf("grow the file system to the size of its disk: %w", err)
	}
	return nil
}

// ioctlResizeFS is EXT4_IOC_RESIZE_FS from the kernel's fs/ext4/ext4.h. Its argument is the
// new number of blocks.
const ioctlResizeFS = 0x40086610

// grow extends a mounted ext4 to the size of its device.
func grow(device, mountPoint string) error {
	d, err := os.Open(device)
	if err != nil {
		return err
	}
	defer d.Close()
	size, err := d.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	blocks, blockSize, err := ext4Size(d)
	if err != nil || uint64(size)/blockSize <= blocks {
		return err
	}
	m, err := os.Open(mountPoint)
	if err != nil {
		return err
	}
	defer m.Close()
	want := uint64(size) / blockSize
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, m.Fd(), ioctlResizeFS, uintptr(unsafe.Pointer(&want))); e != 0 {
		return e
	}
	return nil
}

// ext4Size reads the number and size of blocks from the superblock at byte 1024
// (fields s_blocks_count_lo, s_log_block_size, s_magic, s_blocks_count_hi).
func ext4Size(r io.ReaderAt) (blocks, size uint64, err error) {
	super := make([]byte, 1024)
	if _, err := r.ReadAt(super, 1024); err != nil {
		return 0, 0, err
	}
	le := binary.LittleEndian
	if le.Uint16(super[0x38:]) != 0xEF53 || le.Uint32(super[0x18:]) > 6 {
		return 0, 0, errors.New("no ext4 superblock")
	}
	return uint64(le.Uint32(super[4:])) | uint64(le.Uint32(super[0x150:]))<<32, 1024 << le.Uint32(super[0x18:]), nil
}

// switchRoot makes the machine's disk the root and frees the memory of the initramfs.
func switchRoot() error {
	for _, m := range earlyMounts {
		target := newRoot + m.target
		err := os.MkdirAll(target, 0o755)
		if err == nil {
			err = unix.Mount(m.target, target, "", unix.MS_MOVE, "")
		}
		if err != nil {
			return fmt.Errorf("move %s into the root: %w", m.target, err)
		}
	}
	if err := mountAll(lateMounts, newRoot); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err == nil && (fs.Type == unix.RAMFS_MAGIC || fs.Type == unix.TMPFS_MAGIC) {
		empty("/")
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return os.Chdir("/")
}

// empty removes all files of the initramfs to free their memory. It does not cross into
// other file systems. Best effort.
func empty(dir string) {
	var top unix.Stat_t
	if unix.Stat(dir, &top) != nil {
		return
	}
	entries, _ := os.ReadDir(dir) // best effort
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Dev != top.Dev {
			continue
		}
		if e.IsDir() {
			empty(path)
		}
		_ = os.Remove(path)
	}
}
