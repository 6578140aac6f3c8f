//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// replaceFile makes path a regular file with that text, whole or not at all, and does
// nothing when it is that already. Owner and mode of a file that is there are kept.
//
// It does not wait for the disk, which would be felt in each first boot: ext4 writes
// the data of a file that replaces another before it commits the replacement
// (auto_da_alloc, its default), and what is lost is written again at the next boot.
func replaceFile(path, text string, mode os.FileMode) error {
	info, err := os.Lstat(path)
	var owner *syscall.Stat_t
	if err == nil && info.Mode().IsRegular() {
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			return nil
		}
		mode, owner = info.Mode().Perm(), info.Sys().(*syscall.Stat_t)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	aside := path + ".stead-new"
	if err := writeAside(aside, text, mode, owner); err != nil {
		_ = os.Remove(aside)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(aside, path)
}

func writeAside(aside, text string, mode os.FileMode, owner *syscall.Stat_t) error {
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		return err
	}
	if owner != nil {
		if err := os.Chown(aside, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(aside, mode)
}

// readOptional is the text of a file, empty where there is none.
func readOptional(path string) (string, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}
