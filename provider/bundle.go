package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/durable"
)

// Files of a bundle. The first three names, and the keys inside the first two, are
// Apple's (apple/container, `container machine`).
const (
	bootConfigFile = "boot-config.json" // what it boots with
	configFile     = "config.json"      // what it is
	diskFile       = "rootfs.ext4"      // its disk
	initrdFile     = "initrd"           // what it boots from, for a guest that resets itself too; macOS empties /tmp
	identityFile   = "machine-id"       // what its hypervisor knows it by, if that needs one
	bootedFile     = "booted.json"      // the boot-config.json it runs with
	supervisorLock = "supervisor.lock"  // held by the supervisor for as long as it lives
)

// bundle is the folder of one machine.
type bundle struct{ dir string }

func (p *Provider) machinesDir() string { return filepath.Join(p.opts.Home, "machines") }

func (p *Provider) bundle(id string) bundle { return bundle{filepath.Join(p.machinesDir(), id)} }

func (b bundle) path(name string) string { return filepath.Join(b.dir, name) }

func (b bundle) exists() bool {
	_, err := os.Lstat(b.dir)
	return err == nil
}

// ids lists the names of all bundles, readable or not. Names that begin with a dot
// are locks and half-made or half-deleted bundles.
func (p *Provider) ids() ([]string, error) {
	entries, err := os.ReadDir(p.machinesDir())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// readJSON decodes the file name of the bundle into v.
func (b bundle) readJSON(name string, v any) error {
	data, err := os.ReadFile(b.path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", b.path(name), err)
	}
	return nil
}

// mergeJSON writes v's keys into the file name of the bundle. Keys of the file that v
// does not know survive, as a newer stead or a person may have put them there; a key
// that v marks omitempty and leaves empty is removed when listed in clear.
func (b bundle) mergeJSON(name string, v any, clear ...string) error {
	merged := map[string]json.RawMessage{}
	if data, err := os.ReadFile(b.path(name)); err == nil {
		if err := json.Unmarshal(data, &merged); err != nil {
			return fmt.Errorf("%s: %w", b.path(name), err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, key := range clear {
		delete(merged, key)
	}
	known, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(known, &merged); err != nil {
		return err
	}
	return writeJSON(b.path(name), merged)
}

// writeJSON replaces the file at path atomically and durably.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'))
}
