// Package apple reads the bundles of Apple's `container machine` and imports them: an
// Apple machine becomes a stead machine with its own disk.
package apple

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/platform"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/ext4"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// MachinesDir returns the default directory of the bundles of Apple's `container machine`.
func MachinesDir() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "Application Support", "com.apple.container", "machines"), err
}

// Machines returns the names of the bundles in a directory of Apple's.
func Machines(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoBundlesError{Dir: dir}
	}
	var ids []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), bundle.ConfigFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// NoBundlesError reports that the directory of Apple's bundles does not exist.
type NoBundlesError struct{ Dir string }

func (e *NoBundlesError) Error() string { return fmt.Sprintf("no machines found in %s", e.Dir) }

// Remedy says how to use another directory.
func (e *NoBundlesError) Remedy() string {
	return "set --from to the directory that contains the machines' directories"
}

// ImportError reports an Apple bundle that cannot be imported.
type ImportError struct {
	ID, Dir string
	Err     error
	Advice  string // what to do about it; may be empty
}

func (e *ImportError) Error() string {
	return fmt.Sprintf("cannot import machine %q from %s: %v", e.ID, e.Dir, e.Err)
}
func (e *ImportError) Unwrap() error { return e.Err }

// Remedy says what to do about it.
func (e *ImportError) Remedy() string { return e.Advice }

// source is an Apple bundle. Its files are never changed.
type source struct {
	bundle.Bundle
	disk     fs.FileInfo
	settings machine.Settings
	boot     map[string]json.RawMessage // boot-config.json, with unknown keys
	what     map[string]json.RawMessage // config.json in its newer form, with unknown keys
	record   bundle.Record
}

func readSource(dir string) (*source, error) {
	a := &source{Bundle: bundle.Bundle{Dir: dir}}
	return a, errors.Join(a.readConfig(), a.readBootConfig(), a.readDisk())
}

// readBootConfig reads boot-config.json. If it does not exist, all settings are defaults.
func (a *source) readBootConfig() error {
	if err := a.ReadJSON(bundle.BootConfigFile, &a.boot); errors.Is(err, fs.ErrNotExist) {
		a.settings = host.DefaultSettings()
		return nil
	} else if err != nil {
		return err
	}
	var err error
	a.settings, err = a.Settings()
	return err
}

// readConfig reads config.json: {"configuration": …, "createdDate": …}, or in its older
// form the inner object alone.
func (a *source) readConfig() error {
	if err := a.ReadJSON(bundle.ConfigFile, &a.what); err != nil {
		return err
	}
	inner, newer := a.what["configuration"]
	if !newer {
		var err error
		if inner, err = json.Marshal(a.what); err != nil {
			return err
		}
		a.what = map[string]json.RawMessage{"configuration": inner}
	}
	var nested struct {
		Image struct{ Descriptor bundle.Image }
	}
	c := &a.record.Configuration
	if err := errors.Join(json.Unmarshal(inner, c), json.Unmarshal(inner, &nested)); err != nil {
		return fmt.Errorf("%s: %w", a.Path(bundle.ConfigFile), err)
	}
	c.Image.Digest = cmp.Or(c.Image.Digest, nested.Image.Descriptor.Digest)
	// The bundle may be older than the field, or of an image that does not say.
	c.Platform = bundle.Platform(platform.Platform(c.Platform).Normal().Or(platform.Host()))
	if c.Image.Digest == "" || c.Image.Reference == "" {
		return fmt.Errorf("%s: the image reference or digest is missing", a.Path(bundle.ConfigFile))
	}
	a.record.CreatedDate = appleDate(a.what["createdDate"])
	return nil
}

// appleEpoch is the start of time in Foundation.
var appleEpoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// appleDate reads a date in either form that Foundation writes: text of ISO 8601, or
// seconds since appleEpoch. It is zero if there is no date.
func appleDate(raw json.RawMessage) time.Time {
	var t time.Time
	var seconds float64
	if json.Unmarshal(raw, &t) != nil && json.Unmarshal(raw, &seconds) == nil {
		t = appleEpoch.Add(time.Duration(seconds * float64(time.Second))).Truncate(time.Second)
	}
	return t
}

func (a *source) readDisk() error {
	f, err := regular.Open(a.Path(bundle.DiskFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if a.disk, err = f.Stat(); err != nil {
		return err
	}
	info, err := ext4.Inspect(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if info.Size > a.disk.Size() {
		return fmt.Errorf("%s is truncated: its file system has %s, but the file has only %s", f.Name(), size.Setting(info.Size), size.Setting(a.disk.Size()))
	}
	if a.disk.Size() < machine.MinDisk {
		return fmt.Errorf("%s has %s, but a disk must have at least %s", f.Name(), size.Setting(a.disk.Size()), size.Setting(machine.MinDisk))
	}
	return nil
}

// busy returns why the disk may be in use by another program: it is locked, or its file system
// was not unmounted.
func (a *source) busy() error {
	f, err := regular.Open(a.Path(bundle.DiskFile))
	if err != nil {
		return err
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &held); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil || held.Type != unix.F_UNLCK {
		return errors.New("its disk is locked by another program: it is running")
	}
	if info, err := ext4.Inspect(f); err != nil || info.Unclean {
		return errors.Join(err, errors.New("its file system was not unmounted: it is running, or its power was cut"))
	}
	return nil
}
