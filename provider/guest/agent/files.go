//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// replaceFile atomically makes path a regular file with this text. It does nothing if path
// already is. It keeps owner and mode of an existing file.
//
// It does not sync, which would slow down each first boot. By default (auto_da_alloc), ext4
// writes the data of a file before it commits its rename over another, and the next boot
// writes again what was lost.
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
	err = writeAside(aside, text, mode, owner)
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		_ = os.Remove(aside)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
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

// readOptional returns the text of a file, or "" if the file does not exist.
func readOptional(path string) (string, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}
