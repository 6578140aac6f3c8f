// Package space measures how much disk space files take on the host, and explains the error
// of a full disk.
package space

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// Space is the disk space of files, in bytes.
type Space struct {
	Size int64 // apparent size: holes count
	Real int64 // allocated blocks; blocks that clones share count for each
}

// Of returns the space of one file.
func Of(info fs.FileInfo) Space { return Space{Size: info.Size(), Real: occupied(info)} }

// Plus returns the sum of s and o.
func (s Space) Plus(o Space) Space { return Space{Size: s.Size + o.Size, Real: s.Real + o.Real} }

// In adds up the regular files beneath a directory. A file that vanishes meanwhile takes
// nothing.
func In(dir string) (s Space, files int, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				s = s.Plus(Of(info))
				files++
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return s, files, err
}

// FullError reports that the host's disk is full.
type FullError struct {
	Dir string
	Err error
}

func (e *FullError) Error() string { return fmt.Sprintf("no space left in %s: %v", e.Dir, e.Err) }

// Unwrap returns the cause.
func (e *FullError) Unwrap() error { return e.Err }

// Remedy says what to free.
func (e *FullError) Remedy() string {
	return "free disk space: \"stead df\" shows the usage, \"stead image prune\" removes unused files (with --disks and --all " +
		"also disks and images that can be created or pulled again), \"stead rm NAME\" removes a machine and its disk"
}

// IsFull reports whether err means a full disk or an exhausted quota.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// Explain returns a [*FullError] about dir when err means a full disk, else err.
func Explain(err error, dir string) error {
	var full *FullError
	if IsFull(err) && !errors.As(err, &full) {
		return &FullError{Dir: dir, Err: err}
	}
	return err
}
