//go:build linux

package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// prepareSystemd adapts a container image for booting with systemd.
func prepareSystemd() error {
	return errors.Join(ensureMachineID(), maskUnits("/"))
}

// ensureMachineID sets the machine's ID. Without one, systemd assumes the first boot of an
// installation, where some distributions ask questions on the console.
func ensureMachineID() error {
	const path = "/etc/machine-id"
	old, err := readOptional(path)
	if err != nil {
		return err
	}
	if id := strings.TrimSpace(old); len(id) == 32 {
		return nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	// The form of a random UUID, as machine-id(5) asks.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	if err := os.RemoveAll(path); err != nil { // in images it is read-only, or a link
		return err
	}
	return replaceFile(path, hex.EncodeToString(id)+"\n", 0o444)
}

// maskUnits masks units that cannot work in a machine, for this boot. A unit of the same
// name in /etc/systemd/system overrides the mask.
func maskUnits(root string) error {
	dir := filepath.Join(root, "run/systemd/system")
	var problems []error
	for _, unit := range unitsToMask(root) {
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = os.Symlink("/dev/null", filepath.Join(dir, unit))
		}
		if !errors.Is(err, fs.ErrExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func unitsToMask(root string) []string {
	// The console is only a log: a log-in prompt there would have no reader.
	units := []string{"console-getty.service"}
	for _, path := range []string{"bin/kmod", "usr/bin/kmod"} {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return units
		}
	}
	// The unit starts because the machine has kernel modules, unlike a container, and fails
	// without kmod: systemd's state would be "degraded".
	return append(units, "kmod-static-nodes.service")
}
