package host

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/machine"
)

// socketsInState is false: systemd-tmpfiles keeps sockets in use when it cleans /tmp, and
// the state directory may be on a file system without sockets.
const socketsInState = false

// lingerDir has a file for each user who lingers (systemd-logind, "loginctl enable-linger").
const lingerDir = "/var/lib/systemd/linger"

// lastingRunDir returns $XDG_RUNTIME_DIR if it outlives log-outs, else "". systemd-logind removes
// it at the last log-out of a user who does not linger, but machines go on running: without
// their sockets they could be neither reached nor stopped.
func lastingRunDir() string {
	return lasting(os.Getenv("XDG_RUNTIME_DIR"), User(), lingerDir)
}

func lasting(dir string, u machine.User, lingering string) string {
	if filepath.Clean(dir) != fmt.Sprintf("/run/user/%d", u.UID) || u.Name == "" {
		return "" // of something other than logind, with another lifetime
	}
	if _, err := os.Stat(filepath.Join(lingering, u.Name)); err != nil {
		return ""
	}
	return dir
}
