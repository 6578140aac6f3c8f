package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// NotFoundError is the error of [Find] if there is no project file.
type NotFoundError struct {
	Dir  string // where the search began
	Last string // the last directory searched
	Why  string // why the search ended there; empty at the home and the root directory
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("no %s in %s", FileName, e.Dir)
	if e.Dir != e.Last {
		text += " or its parent directories up to " + e.Last
	}
	if e.Why != "" {
		text += ", which is " + e.Why
	}
	return text
}

// Remedy returns a hint for the user.
func (e *NotFoundError) Remedy() string {
	return fmt.Sprintf("create %s, change to the directory that has one, or name the file with -f FILE", FileName)
}

// UntrustedError is the error of [Find] if the nearest project file may be what another user wants
// to run as you.
type UntrustedError struct {
	File string // the project file
	Path string // the file or its directory
	Why  string // "belongs to the user mallory"
}

func (e *UntrustedError) Error() string {
	if e.Path == e.File {
		return fmt.Sprintf("refused project file %s: it %s", e.File, e.Why)
	}
	return fmt.Sprintf("refused project file %s: its directory %s", e.File, e.Why)
}

// Remedy says how to use the file anyway.
func (e *UntrustedError) Remedy() string {
	return fmt.Sprintf("read the file; if you trust it, name it: -f %s", e.File)
}

// Find returns the absolute path of the project file in dir or in its nearest
// parent, so that commands work from anywhere inside a project. If there is no
// project file, the error is a [*NotFoundError].
//
// The search ends at the root of a repository, at the border of a file system, and at the
// user's home directory: what is above was not made for dir. A file that another user has
// put there, or may change, is an [*UntrustedError], as it would choose what runs with the
// user's home (git refuses a repository for the same reason, CVE-2022-24765).
func Find(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("cannot look for %s: %w", FileName, err)
	}
	home, _ := os.UserHomeDir()
	s := search{stat: os.Stat, lstat: os.Lstat, home: home, trusted: trustedUsers(os.Geteuid(), os.Getenv("SUDO_UID"))}
	return s.find(start)
}

// trustedUsers returns the users whose files a process takes: its own, and root. If sudo made it
// root's, the user who called sudo is meant.
func trustedUsers(euid int, sudo string) []uint32 {
	users := []uint32{0, uint32(euid)} //nolint:gosec // a user ID has 32 bits
	if id, err := strconv.ParseUint(sudo, 10, 32); err == nil && euid == 0 {
		users = append(users, uint32(id))
	}
	return users
}

// search looks for a project file.
type search struct {
	stat    func(path string) (fs.FileInfo, error)
	lstat   func(path string) (fs.FileInfo, error) // of a link itself
	home    string                                 // the user's home directory; empty when unknown
	trusted []uint32
}

func (s search) find(start string) (string, error) {
	for at := start; ; at = filepath.Dir(at) {
		file := filepath.Join(at, FileName)
		switch info, err := s.stat(file); {
		case err == nil && !info.IsDir():
			return file, s.check(file, info)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("cannot look for %s: %w", FileName, err)
		}
		if why, end := s.ends(at); end {
			return "", &NotFoundError{Dir: start, Last: at, Why: why}
		}
	}
}

// repositories are the names of files or directories at a repository's root. A worktree and a
// submodule of git have a file.
var repositories = []string{".git", ".hg", ".jj"}

// ends reports whether the search ends in the directory at, and why.
func (s search) ends(at string) (why string, end bool) {
	parent := filepath.Dir(at)
	if at == s.home || at == parent {
		return "", true
	}
	for _, name := range repositories {
		if _, err := s.stat(filepath.Join(at, name)); err == nil {
			return "the root of a repository", true
		}
	}
	here, err := s.stat(at)
	above, aboveErr := s.stat(parent)
	if err == nil && aboveErr == nil && device(here) != device(above) {
		return "the root of a file system", true
	}
	return "", false
}

func device(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev) //nolint:gosec,unconvert // its type depends on the system
	}
	return 0
}

// check returns an [*UntrustedError] if another user could have written the file, or could
// replace it.
func (s search) check(file string, info fs.FileInfo) error {
	dir := filepath.Dir(file)
	folder, err := s.stat(dir)
	link, linkErr := s.lstat(file)
	if err := errors.Join(err, linkErr); err != nil {
		return fmt.Errorf("cannot look for %s: %w", FileName, err)
	}
	for _, at := range []struct {
		path string
		info fs.FileInfo
	}{{file, info}, {file, link}, {dir, folder}} {
		if why := s.distrust(at.info); why != "" {
			return &UntrustedError{File: file, Path: at.path, Why: why}
		}
	}
	return nil
}

// distrust returns why a file or directory is not to be trusted, or "". A group may write: its
// members are chosen, and many systems give each user a group.
func (s search) distrust(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && !slices.Contains(s.trusted, st.Uid) {
		return "belongs to " + userName(st.Uid)
	}
	// In a directory with the sticky bit, such as /tmp, other users cannot replace a file.
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&(fs.ModeSticky|fs.ModeSymlink) == 0 {
		return "may be changed by every user (mode " + fmt.Sprintf("%04o", info.Mode().Perm()) + ")"
	}
	return ""
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return "the user " + u.Username
	}
	return "the user with the ID " + id
}
