// Package bundle keeps a machine on disk: a directory with what the machine is
// (config.json), what it boots with (boot-config.json), and its disk.
//
// The bundles are the only state. A [Store] creates, swaps and renames them so that a
// machine exists whole or not at all, whatever ends the process, and lets one command at a
// time change a machine. [Notes] remember how a project's last apply left its machines and
// decide nothing.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/space"
)

// Files of a bundle. The first three names, and the keys inside the first two, are
// Apple's (apple/container, `container machine`).
const (
	BootConfigFile = "boot-config.json" // what it boots with
	ConfigFile     = "config.json"      // what it is
	DiskFile       = "rootfs.ext4"      // its disk
	InitrdFile     = "initrd"           // its initramfs while it runs; here because macOS empties /tmp
	IdentityFile   = "machine-id"       // its identifier for the hypervisor, if that needs one
	ConsoleLog     = "console.log"      // what kernel and init print
	SupervisorLog  = "supervisor.log"   // what its supervisor did

	bootedFile     = "booted.json"     // the boot-config.json it runs with
	supervisorLock = "supervisor.lock" // held by the supervisor for as long as it lives
)

// Bundle is the directory of one machine.
type Bundle struct{ Dir string }

// Path returns the path of the file name in the bundle.
func (b Bundle) Path(name string) string { return filepath.Join(b.Dir, name) }

// Exists reports whether the bundle is there, readable or not.
func (b Bundle) Exists() bool {
	_, err := os.Lstat(b.Dir)
	return err == nil
}

// ReadJSON decodes the file name of the bundle into v.
func (b Bundle) ReadJSON(name string, v any) error {
	data, err := os.ReadFile(b.Path(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", b.Path(name), err)
	}
	return nil
}

// mergeJSON writes v's keys into the file name of the bundle. Keys that v does not know
// survive, because a newer stead or a user may have put them there. A key that v marks
// omitempty and leaves empty is removed when it is listed in clear.
func (b Bundle) mergeJSON(name string, v any, clear ...string) error {
	merged := map[string]json.RawMessage{}
	if data, err := os.ReadFile(b.Path(name)); err == nil {
		if err := json.Unmarshal(data, &merged); err != nil {
			return fmt.Errorf("%s: %w", b.Path(name), err)
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
	return WriteJSON(b.Path(name), merged)
}

// WriteJSON replaces the file at path atomically and durably.
func WriteJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'))
}

// Supervisor is the lock that the machine's supervisor holds for as long as it lives,
// whatever kills it.
func (b Bundle) Supervisor() lock.File {
	return lock.File{Path: b.Path(supervisorLock), What: "machine " + filepath.Base(b.Dir) + " is supervised"}
}

// Supervised reports whether a supervisor lives for the machine.
func (b Bundle) Supervised() (bool, error) { return b.Supervisor().Held() }

// DiskUsed returns the bytes that the disk occupies on the host; 0 when there is none.
func (b Bundle) DiskUsed() int64 {
	info, err := os.Stat(b.Path(DiskFile))
	if err != nil {
		return 0
	}
	return space.Of(info).Real
}

// GrowDisk makes the disk file at least size bytes; the agent grows the file system into
// it. A disk never shrinks.
func (b Bundle) GrowDisk(size int64) error {
	info, err := os.Stat(b.Path(DiskFile))
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if info.Size() >= size {
		return nil
	}
	return os.Truncate(b.Path(DiskFile), size)
}

// EndRun removes what is there only while the machine runs.
func (b Bundle) EndRun() error {
	return errors.Join(removeIfExists(b.Path(InitrdFile)), removeIfExists(b.Path(bootedFile)))
}

func removeIfExists(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// SetBrokenAside renames the files that cannot be read, to names that end in .broken.
func (b Bundle) SetBrokenAside() error {
	var errs []error
	if _, err := b.Record(); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, b.aside(ConfigFile))
	}
	if _, err := b.Settings(); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, b.aside(BootConfigFile))
	}
	return errors.Join(errs...)
}

func (b Bundle) aside(name string) error {
	return os.Rename(b.Path(name), b.Path(fmt.Sprintf("%s.%s.broken", name, time.Now().UTC().Format("20060102T150405.000"))))
}
