//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// ensureHome creates the user's home on the machine's own disk and fills a new one from
// /etc/skel. It never writes to a home on another file system: that is the host's.
func ensureHome(root string, u account.User) (err error) {
	home := filepath.Join(root, u.Home)
	own, err := onDiskOf(root, home)
	if err != nil || !own {
		return err
	}
	if fresh, err := isFresh(home); err != nil || !fresh {
		return err
	}
	// Create it under another name and rename it, so that an existing home is complete.
	aside := home + ".stead-new"
	defer func() {
		if err != nil {
			_ = os.RemoveAll(aside)
		}
	}()
	if err := errors.Join(os.RemoveAll(aside), makeDirs(root, filepath.Dir(u.Home), 0o755), os.Mkdir(aside, 0o700)); err != nil {
		return err
	}
	if err := copySkel(filepath.Join(root, "etc/skel"), aside, u); err != nil {
		return fmt.Errorf("fill the home %s: %w", u.Home, err)
	}
	if err := errors.Join(os.Chmod(aside, 0o750), os.Lchown(aside, u.UID, u.GID)); err != nil {
		return err
	}
	return unix.Rename(aside, home) // os.Rename would not replace an empty directory
}

// onDiskOf reports whether path, or its nearest existing parent, is on the same file system
// as root.
func onDiskOf(root, path string) (bool, error) {
	var r, p unix.Stat_t
	if err := unix.Stat(root, &r); err != nil {
		return false, err
	}
	for {
		err := unix.Stat(path, &p)
		if err == nil {
			return p.Dev == r.Dev, nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("stat the home %s: %w", path, err)
		}
		path = filepath.Dir(path)
	}
}

// isFresh reports whether home is missing, or an unused mount point: empty and root's.
func isFresh(home string) (bool, error) {
	info, err := os.Stat(home)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return false, err
	}
	entries, err := os.ReadDir(home)
	return err == nil && len(entries) == 0, err
}

// copySkel copies files, directories and links for the user.
func copySkel(skel, home string, u account.User) error {
	return filepath.WalkDir(skel, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == skel {
			return nil
		}
		if err != nil || path == skel {
			return err
		}
		to := filepath.Join(home, strings.TrimPrefix(path, skel))
		if err := copyEntry(path, to, e); err != nil {
			return err
		}
		return os.Lchown(to, u.UID, u.GID)
	})
}

func copyEntry(from, to string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case e.IsDir():
		return os.Mkdir(to, info.Mode().Perm())
	case e.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case e.Type().IsRegular():
		return copyFile(from, to, info.Mode().Perm())
	default:
		return nil // ignore devices and the like
	}
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// renumber gives the files on the disk of root the new ids of their owners and groups.
func renumber(root string, ids account.IDs) error {
	if len(ids.Users)+len(ids.Groups) == 0 {
		return nil
	}
	var disk unix.Stat_t
	if err := unix.Stat(root, &disk); err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil {
			return nil // removed meanwhile
		}
		if st.Dev != disk.Dev {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		uid, newUser := ids.Users[int(st.Uid)]
		gid, newGroup := ids.Groups[int(st.Gid)]
		if !newUser {
			uid = -1
		}
		if !newGroup {
			gid = -1
		}
		if !newUser && !newGroup {
			return nil
		}
		if err := os.Lchown(path, uid, gid); err != nil {
			return err
		}
		if special := st.Mode & (unix.S_ISUID | unix.S_ISGID); special != 0 && st.Mode&unix.S_IFMT == unix.S_IFREG {
			return unix.Chmod(path, st.Mode&0o7777) // a change of the owner clears these bits
		}
		return nil
	})
}
