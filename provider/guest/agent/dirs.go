//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links one path may have, as in the kernel (MAXSYMLINKS of linux/namei.h).
const maxLinks = 40

// makeDirs makes path and its parents below root, as os.MkdirAll does, but also what symbolic
// links on the way lead to: images that keep all state in /var have links such as /home to
// var/home, whose targets do not exist yet. Absolute links begin at root.
func makeDirs(root, path string, mode os.FileMode) error {
	at, links := "/", 0
	names := strings.Split(path, "/")
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		target, err := os.Readlink(filepath.Join(root, next))
		switch {
		case err == nil:
			if links++; links > maxLinks {
				return &os.PathError{Op: "make directory", Path: path, Err: unix.ELOOP}
			}
			if strings.HasPrefix(target, "/") {
				at = "/"
			}
			names = append(strings.Split(target, "/"), names...)
			continue
		case errors.Is(err, os.ErrNotExist):
			if err := os.Mkdir(filepath.Join(root, next), mode); err != nil {
				return err
			}
		case !errors.Is(err, unix.EINVAL): // EINVAL: no link
			return err
		}
		at = next
	}
	info, err := os.Stat(filepath.Join(root, at))
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", path)
	}
	return err
}

// completeLinks makes the directories that links of the root directory lead to and that are
// missing, such as /root to var/roothome.
func completeLinks(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		path := "/" + e.Name()
		if e.Type() != os.ModeSymlink {
			continue
		}
		if err := makeDirs(root, path, 0o755); err != nil && !isFile(root, path) {
			problems = append(problems, fmt.Errorf("complete the link %s: %w", path, err))
		}
	}
	return errors.Join(problems...)
}

// isFile reports whether a link leads to something that is no directory.
func isFile(root, path string) bool {
	info, err := os.Stat(filepath.Join(root, path))
	return err == nil && !info.IsDir()
}
