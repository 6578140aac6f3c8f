// Package host provides facts about this computer that affect machines: its user, home
// directory, memory and processors, and when its user logs out.
package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
)

// HomeError reports a home directory that cannot be mounted.
type HomeError struct {
	Dir string
	Err error
}

func (e *HomeError) Error() string {
	return fmt.Sprintf("cannot mount home directory %s: %v", e.Dir, e.Err)
}
func (e *HomeError) Unwrap() error { return e.Err }

// Remedy says how to fix it, or how to do without a home mount.
func (e *HomeError) Remedy() string {
	return `make it readable, set HOME to your home directory, or set home_mount = "none"`
}

// Home returns the directory that machines mount at the same path: $HOME with its symbolic
// links resolved.
func Home() (string, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", &HomeError{Dir: "$HOME", Err: err}
	}
	named := dir
	if dir, err = filepath.EvalSymlinks(named); err != nil {
		return "", &HomeError{Dir: named, Err: err}
	}
	if dir == "/" || !filepath.IsAbs(dir) {
		return "", &HomeError{Dir: dir, Err: errors.New("must be an absolute path below /")}
	}
	if _, err := os.ReadDir(dir); err != nil {
		return "", &HomeError{Dir: dir, Err: err}
	}
	return dir, nil
}

// CheckPrivate returns an error if another user could change the directory.
func CheckPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a directory that you own, with mode 0700, not %v", dir, info.Mode())
	}
	return nil
}

// defaultDisk is the size of a disk when none is set, in bytes. The file is sparse.
const defaultDisk = 64 * size.GiB

// DefaultSettings are Apple's defaults: half of the host's processors but at least 4
// (never more than the host has), half of its memory in whole GiB, the home read-write.
func DefaultSettings() machine.Settings {
	cpus := min(max(runtime.NumCPU()/2, 4), runtime.NumCPU())
	return machine.Settings{
		CPUs:      cpus,
		Memory:    max(Memory()/2/size.GiB, 1) * size.GiB,
		Disk:      defaultDisk,
		HomeMount: machine.HomeReadWrite,
	}
}
