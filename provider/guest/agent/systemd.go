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

// prepareSystemd makes an image that was never meant to boot a machine look like one
// that was.
func prepareSystemd() error {
	return errors.Join(ensureMachineID(), maskUnits("/"))
}

// ensureMachineID gives the machine its id. Without one systemd takes the boot for an
// installation's first, where some distributions ask questions on the console.
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
	if err := os.RemoveAll(path); err != nil { // images have it read-only, or as a link
		return err
	}
	return replaceFile(path, hex.EncodeToString(id)+"\n", 0o444)
}

// maskUnits hides units that cannot work here, for this boot. A unit of that name in
// /etc/systemd/system wins over the mask.
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
	// The console is a log: nobody can answer its log-in prompt.
	units := []string{"console-getty.service"}
	for _, path := range []string{"bin/kmod", "usr/bin/kmod"} {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return units
		}
	}
	// It starts because the kernel's modules are there, which the image does not expect,
	// and fails without kmod: the machine would count as degraded.
	return append(units, "kmod-static-nodes.service")
}
