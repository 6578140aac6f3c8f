//go:build linux

package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// newRoot is where the initramfs mounts the machine's root.
const newRoot = "/newroot"

// Devices appear while their drivers start: quickly, but not at once.
const (
	devicePoll = 2 * time.Millisecond
	deviceWait = 10 * time.Second
)

// await looks again and again for something that a driver makes.
func await(what string, found func() bool) error {
	for end := time.Now().Add(deviceWait); !found(); time.Sleep(devicePoll) {
		if time.Now().After(end) {
			return fmt.Errorf("%s did not appear within %s", what, deviceWait)
		}
	}
	return nil
}

// rootOptions lets deleting give space back to the host without anybody's doing: what
// the file system frees it discards after the next commit, in the background, and the
// hypervisor cuts it out of the disk's file. Removing 4,000 small files or one of 150 MB
// took as long as without, within what the same removal varies. A periodic fstrim would
// leave the host waiting, and needs a timer that images lack.
//
// A remount by the image's init keeps the option, unless its fstab says nodiscard.
const rootOptions = "discard"

// findDisk returns the device whose serial is serial, looking beneath sys.
func findDisk(sys, serial string) (string, bool) {
	files, _ := filepath.Glob(filepath.Join(sys, "block/*/serial")) // the pattern is sound
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(text)) == serial {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(f))), true
		}
	}
	return "", false
}

func opens(device string) bool {
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	_ = f.Close() // only tried
	return true
}

func mountRoot() error {
	var device string
	err := await("a disk with the serial "+guest.RootSerial, func() (ok bool) {
		device, ok = findDisk("/sys", guest.RootSerial)
		return ok && opens(device) // sysfs shows it a moment before it can be used
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

// ioctlResizeFS is EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h; its argument is
// the new number of blocks.
const ioctlResizeFS = 0x40086610

// grow extends a mounted ext4 over the whole of a device that has become larger.
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

// switchRoot makes the machine's disk the root and gives the initramfs' memory back.
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

// empty removes what the initramfs held, which is memory, and stays on its file
// system. Best effort.
func empty(dir string) {
	var top unix.Stat_t
	if unix.Stat(dir, &top) != nil {
		return
	}
	entries, _ := os.ReadDir(dir) // what cannot be read cannot be removed
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
