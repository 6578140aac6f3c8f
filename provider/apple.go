package provider

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/ext4"
)

// AppleMachinesDir is where Apple's `container machine` keeps its bundles, unless its own
// folder was put elsewhere.
func AppleMachinesDir() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "Application Support", "com.apple.container", "machines"), err
}

// AppleMachines lists the bundles in a folder of Apple's.
func AppleMachines(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoBundlesError{Dir: dir}
	}
	var ids []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), configFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, err
}

// NoBundlesError reports that there is no folder of Apple's.
type NoBundlesError struct{ Dir string }

func (e *NoBundlesError) Error() string { return fmt.Sprintf("there are no machines in %s", e.Dir) }

// Remedy says how to name another one.
func (e *NoBundlesError) Remedy() string {
	return "name the folder in which the machines' folders are by --from DIR"
}

// ImportError reports a bundle of Apple's that cannot become a machine of ours.
type ImportError struct {
	ID, Dir string
	Err     error
	Advice  string // what to do about it; may be empty
}

func (e *ImportError) Error() string {
	return fmt.Sprintf("machine %q in %s cannot be imported: %v", e.ID, e.Dir, e.Err)
}
func (e *ImportError) Unwrap() error { return e.Err }

// Remedy says what to do about it.
func (e *ImportError) Remedy() string { return e.Advice }

// appleBundle is a bundle of Apple's as it was read. Its files are only ever read.
type appleBundle struct {
	bundle
	disk     fs.FileInfo
	settings Settings
	boot     map[string]json.RawMessage // boot-config.json, with what we do not know
	what     map[string]json.RawMessage // config.json in its newer form, with what we do not know
	record   record
}

func readApple(dir string) (*appleBundle, error) {
	a := &appleBundle{bundle: bundle{dir}}
	return a, errors.Join(a.readConfig(), a.readBootConfig(), a.readDisk())
}

// readBootConfig reads what it boots with. A file that is not there is all defaults.
func (a *appleBundle) readBootConfig() error {
	var c bootConfig
	if err := a.readJSON(bootConfigFile, &a.boot); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := a.readJSON(bootConfigFile, &c)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		a.settings, err = c.settings()
	}
	return err
}

// readConfig reads what it is: {"configuration": …, "createdDate": …}, or in its older
// form the inner object alone.
func (a *appleBundle) readConfig() error {
	if err := a.readJSON(configFile, &a.what); err != nil {
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
		Image struct{ Descriptor recordImage }
	}
	c := &a.record.Configuration
	if err := errors.Join(json.Unmarshal(inner, c), json.Unmarshal(inner, &nested)); err != nil {
		return fmt.Errorf("%s: %w", a.path(configFile), err)
	}
	c.Image.Digest = cmp.Or(c.Image.Digest, nested.Image.Descriptor.Digest)
	if c.Image.Digest == "" || c.Image.Reference == "" {
		return fmt.Errorf("%s does not say which image it was made from", a.path(configFile))
	}
	a.record.CreatedDate = appleDate(a.what["createdDate"])
	return nil
}

// appleEpoch is what Foundation counts its dates from.
var appleEpoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// appleDate reads a date in either form that Foundation writes: text of ISO 8601, or
// seconds since its epoch. It is zero when there is none.
func appleDate(raw json.RawMessage) time.Time {
	var t time.Time
	var seconds float64
	if json.Unmarshal(raw, &t) != nil && json.Unmarshal(raw, &seconds) == nil {
		t = appleEpoch.Add(time.Duration(seconds * float64(time.Second))).Truncate(time.Second)
	}
	return t
}

func (a *appleBundle) readDisk() error {
	f, err := os.Open(a.path(diskFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if a.disk, err = f.Stat(); err != nil {
		return err
	}
	if !a.disk.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.Name())
	}
	info, err := ext4.Inspect(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if info.Size > a.disk.Size() {
		return fmt.Errorf("%s has been cut off: its file system is %s and the file %s", f.Name(), sizeText(info.Size), sizeText(a.disk.Size()))
	}
	if a.disk.Size() < MinDisk {
		return fmt.Errorf("%s has only %s, and disks have %s at least", f.Name(), sizeText(a.disk.Size()), sizeText(MinDisk))
	}
	return nil
}

// busy tells why the disk may be in use, as far as that can be known of another program:
// it is locked, or its file system has not been unmounted.
func (a *appleBundle) busy() error {
	f, err := os.Open(a.path(diskFile))
	if err != nil {
		return err
	}
	defer f.Close()
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &held); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil || held.Type != unix.F_UNLCK {
		return errors.New("its disk is locked by another program: it runs")
	}
	if info, err := ext4.Inspect(f); err != nil || info.Unclean {
		return errors.Join(err, errors.New("its file system was not unmounted: it runs, or its power was cut"))
	}
	return nil
}
