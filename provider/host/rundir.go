package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// maxSocketPath is the maximum length of a socket's path: sun_path has 104 bytes on macOS, with
// the final zero, and 108 on Linux.
const maxSocketPath = 103

// RunDir is the directory of a machine's sockets. Where it is depends on the environment of the
// process that starts the machine. So that every other process finds it, in whatever session, a
// symbolic link in the machine's bundle records it.
type RunDir struct {
	State  string // required: the state directory, absolute
	ID     string // required: of the machine
	Record string // required: path of the link
}

// name is the directory's name. Without it, a damaged record could lead to any directory.
func (r RunDir) name() string {
	sum := sha256.Sum256([]byte(r.State + "\x00" + r.ID))
	return hex.EncodeToString(sum[:6])
}

// Make creates the directory, empty, and records it. It and its parent have mode 0700 and belong to
// the user, which protects the sockets in it.
func (r RunDir) Make() (string, error) {
	if err := r.Remove(); err != nil { // what a killed supervisor has left
		return "", err
	}
	root, err := r.makeRoot(places{state: r.State, inState: socketsInState, lasting: lastingRunDir(), tmp: "/tmp"})
	if err != nil {
		return "", fmt.Errorf("run directory: %w", err)
	}
	dir := filepath.Join(root, r.name())
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, renameio.Symlink(dir, r.Record)
}

// Find returns the recorded directory. If there is none, or if another user could have made it,
// as when /tmp was emptied since, that is an error.
func (r RunDir) Find() (string, error) {
	dir, err := os.Readlink(r.Record)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(dir) || filepath.Base(dir) != r.name() {
		return "", fmt.Errorf("%s leads to %s, which is not the run directory of machine %s", r.Record, dir, r.ID)
	}
	return dir, errors.Join(CheckPrivate(filepath.Dir(dir)), CheckPrivate(dir))
}

// Remove removes the directory and its record, if they exist.
func (r RunDir) Remove() error {
	dir, err := r.Find()
	if err == nil {
		err = os.RemoveAll(dir)
		if root := filepath.Dir(dir); strings.HasPrefix(filepath.Base(root), ownRoot()+"-") {
			_ = os.Remove(root) // made for this machine alone
		}
	} else {
		err = nil // there is nothing of ours
	}
	if removeErr := os.Remove(r.Record); !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// places are where run directories can be.
type places struct {
	state   string
	inState bool   // prefer the state directory
	lasting string // a directory for run-time files that outlives log-outs; may be empty
	tmp     string
}

// ownRoot is the name of the usual root in /tmp.
func ownRoot() string { return fmt.Sprintf("stead-%d", os.Getuid()) }

// makeRoot creates the directory of all run directories: below the state directory, where the
// system prefers that and paths are short enough, else in the lasting directory, else in /tmp.
// Every user can write to /tmp: if another one has taken the usual name there, which the sticky
// bit keeps the user from removing, it takes a new one.
func (r RunDir) makeRoot(p places) (string, error) {
	if root := filepath.Join(p.state, "run"); p.inState && short(root) {
		return root, makePrivate(root)
	}
	roots := []string{filepath.Join(p.tmp, ownRoot())}
	if p.lasting != "" && short(filepath.Join(p.lasting, "stead")) && CheckPrivate(p.lasting) == nil {
		roots = []string{filepath.Join(p.lasting, "stead"), roots[0]}
	}
	for _, root := range roots {
		if makePrivate(root) == nil {
			return root, nil
		}
	}
	return os.MkdirTemp(p.tmp, ownRoot()+"-")
}

// short reports whether the sockets below root have paths that are short enough.
func short(root string) bool {
	return len(root)+len("/0123456789ab/api.sock") <= maxSocketPath
}

// makePrivate creates the directory if there is none, and checks it.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return CheckPrivate(dir)
}

// CheckRunDirs returns an error if no run directories can be made for the state directory.
func CheckRunDirs(state string) error {
	root := filepath.Join(state, "run")
	if !socketsInState || !short(root) {
		return nil // there is always another name in /tmp
	}
	if err := CheckPrivate(root); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
