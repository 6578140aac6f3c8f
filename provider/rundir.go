package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxSocketPath is how long the path of a socket can be: sun_path's 104 bytes on macOS
// hold a final zero too. Linux has 108.
const maxSocketPath = 103

// runDir is the folder of a machine's sockets. It is 0700 and its parent belongs to the
// user, which is what guards the sockets in it.
func (p *Provider) runDir(id string) string {
	sum := sha256.Sum256([]byte(p.opts.Home + "\x00" + id))
	return filepath.Join(runRoot(p.opts.Home, socketsInState), hex.EncodeToString(sum[:6]))
}

// runRoot is the folder of all run folders: one in the state folder if that is wanted and
// leaves paths short enough, else one that is short for sure.
func runRoot(home string, inState bool) string {
	if root := filepath.Join(home, "run"); inState && len(root)+len("/0123456789ab/api.sock") <= maxSocketPath {
		return root
	}
	return filepath.Join("/tmp", fmt.Sprintf("stead-%d", os.Getuid()))
}

// makeRunDir makes the run folder, empty, and refuses a parent that is not ours: /tmp
// is writable by everybody.
func (p *Provider) makeRunDir(id string) (string, error) {
	dir := p.runDir(id)
	parent := filepath.Dir(dir)
	if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	if err := privateDir(parent); err != nil {
		return "", fmt.Errorf("run folder: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}
