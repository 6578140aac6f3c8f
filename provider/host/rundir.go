package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxSocketPath is the maximum length of a socket's path: sun_path has 104 bytes on macOS, with
// the final zero, and 108 on Linux.
const maxSocketPath = 103

// RunDir returns the directory of a machine's sockets, for the state directory state. It
// has mode 0700 and its parent belongs to the user, which protects the sockets in it.
func RunDir(state, id string) string {
	sum := sha256.Sum256([]byte(state + "\x00" + id))
	return filepath.Join(RunRoot(state), hex.EncodeToString(sum[:6]))
}

// RunRoot returns the directory of all run directories of a state directory.
func RunRoot(state string) string { return runRoot(state, socketsInState) }

// runRoot returns a directory in the state directory if inState is set and paths are short
// enough, else one in /tmp, where paths are always short.
func runRoot(home string, inState bool) string {
	if root := filepath.Join(home, "run"); inState && len(root)+len("/0123456789ab/api.sock") <= maxSocketPath {
		return root
	}
	return filepath.Join("/tmp", fmt.Sprintf("stead-%d", os.Getuid()))
}

// MakeRunDir creates the run directory, empty. It fails if the parent does not belong to the
// user, because every user can write to /tmp.
func MakeRunDir(state, id string) (string, error) {
	dir := RunDir(state, id)
	parent := filepath.Dir(dir)
	if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	if err := CheckPrivate(parent); err != nil {
		return "", fmt.Errorf("run directory: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}
