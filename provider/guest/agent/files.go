//go:build linux

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// replaceFile makes path a regular file with that text, whole or not at all, and does
// nothing when it is that already. Owner and mode of a file that is there are kept.
func replaceFile(path, text string, mode os.FileMode) error {
	info, err := os.Lstat(path)
	regular := err == nil && info.Mode().IsRegular()
	if regular {
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			return nil
		}
		mode = info.Mode().Perm()
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = f.Cleanup() }()
	if regular {
		st := info.Sys().(*syscall.Stat_t)
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// readOptional is the text of a file, empty where there is none.
func readOptional(path string) (string, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}
