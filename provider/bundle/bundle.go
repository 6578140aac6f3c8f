// Package bundle stores machines on disk. The bundle of a machine is a directory with its
// record (config.json), its settings (boot-config.json) and its disk.
//
// The bundles are the only state. A [Store] creates, swaps and renames them such that a
// machine is either complete or does not exist, even if the process is killed, and locks each
// machine for one command at a time. [Notes] record how a project's last apply left its
// machines; they only serve to report drift.
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
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
)

// Files of a bundle. The first three names, and the keys inside the first two, are
// Apple's (apple/container, `container machine`).
const (
	BootConfigFile = "boot-config.json" // settings
	ConfigFile     = "config.json"      // record
	DiskFile       = "rootfs.ext4"      // disk
	InitrdFile     = "initrd"           // initramfs while the machine runs; not in /tmp, which macOS empties
	RunLink        = "run"              // link to the directory of its sockets while the machine runs
	IdentityFile   = "machine-id"       // identifier for hypervisors that need one
	ConsoleLog     = "console.log"      // output of kernel and init
	SupervisorLog  = "supervisor.log"   // log of the supervisor

	bootedFile     = "booted.json"     // boot-config.json at the last boot
	endedFile      = "ended.json"      // why the last run ended, unless it was an orderly end
	supervisorLock = "supervisor.lock" // locked as long as the supervisor lives
)

// maxJSON bounds a file with JSON, in bytes. stead writes less than this, but a user may not.
const maxJSON = 4 * size.MiB

// Bundle is the directory of one machine.
type Bundle struct{ Dir string }

// Path returns the path of the file name in the bundle.
func (b Bundle) Path(name string) string { return filepath.Join(b.Dir, name) }

// Exists reports whether the bundle exists, readable or not.
func (b Bundle) Exists() bool {
	_, err := os.Lstat(b.Dir)
	return err == nil
}

// ReadJSON decodes the file name of the bundle into v.
func (b Bundle) ReadJSON(name string, v any) error {
	data, err := regular.ReadFile(b.Path(name), maxJSON)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &DamagedError{Path: b.Path(name), Err: err}
	}
	return nil
}

// DamagedError reports a file of a machine that cannot be what it should be.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns what is wrong with the file.
func (e *DamagedError) Unwrap() error { return e.Err }

// Remedy says how to get the machine back, and how to get rid of it.
func (e *DamagedError) Remedy() string {
	id := filepath.Base(filepath.Dir(e.Path))
	return fmt.Sprintf("correct the file or restore it from a backup. If a project declares the machine, \"stead apply\" writes the file "+
		"again and keeps the disk. Run \"stead rm %s\" to delete the machine with its disk", id)
}

// mergeJSON writes v's keys into the file name of the bundle. Keys that v does not know
// survive, because a newer stead or a user may have written them. A key that v omits as empty
// is removed if it is listed in clear.
func (b Bundle) mergeJSON(name string, v any, clear ...string) error {
	merged := map[string]json.RawMessage{}
	if data, err := regular.ReadFile(b.Path(name), maxJSON); err == nil {
		if err := json.Unmarshal(data, &merged); err != nil {
			return &DamagedError{Path: b.Path(name), Err: err}
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

// Supervisor returns the lock that the machine's supervisor holds as long as it lives.
func (b Bundle) Supervisor() lock.File {
	return lock.File{Path: b.Path(supervisorLock), What: "machine " + filepath.Base(b.Dir) + " is supervised"}
}

// Supervised reports whether the machine has a running supervisor.
func (b Bundle) Supervised() (bool, error) { return b.Supervisor().Held() }

// DiskUsed returns the bytes that the disk occupies on the host, or 0 if there is no disk.
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

// EndRun removes the files that exist only while the machine runs, and records why it ended:
// err is nil after an orderly end.
func (b Bundle) EndRun(err error) error {
	recorded := b.recordEnd(err)
	return errors.Join(recorded, removeIfExists(b.Path(InitrdFile)), removeIfExists(b.Path(bootedFile)))
}

func removeIfExists(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// SetBrokenAside renames unreadable files to names that end in .broken.
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
