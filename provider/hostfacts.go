package provider

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/stead-vm/stead/provider/image"
)

// HostUser is the user that machines of this host have inside.
func HostUser() (User, error) {
	u, err := user.Current()
	if err != nil {
		return User{}, fmt.Errorf("who you are: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return User{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return User{Name: u.Username, UID: uid, GID: gid}, err
}

// HomeError reports a home folder that cannot be mounted.
type HomeError struct {
	Dir string
	Err error
}

func (e *HomeError) Error() string {
	return fmt.Sprintf("home folder %s cannot be mounted: %v", e.Dir, e.Err)
}
func (e *HomeError) Unwrap() error { return e.Err }

// Remedy says how to go on without it.
func (e *HomeError) Remedy() string {
	return `make it readable for you, point HOME at your home, or use home_mount = "none"`
}

// HostHome is the folder that machines mount at its own path: $HOME with its links
// resolved.
func HostHome() (string, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", &HomeError{Dir: "$HOME", Err: err}
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", &HomeError{Dir: dir, Err: err}
	}
	if dir == "/" || !filepath.IsAbs(dir) {
		return "", &HomeError{Dir: dir, Err: errors.New("it must be an absolute path below /")}
	}
	if _, err := os.ReadDir(dir); err != nil {
		return "", &HomeError{Dir: dir, Err: err}
	}
	return dir, nil
}

// diskFull names the remedy when err means a full disk.
func diskFull(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &image.SpaceError{Dir: dir, Err: err}
	}
	return err
}

// privateDir refuses a folder that another user could change.
func privateDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a folder of yours with mode 0700; it is %v", dir, info.Mode())
	}
	return nil
}
