package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/durable"
)

// Prefixes of the names of bundles that are being created or removed.
const (
	newPrefix = ".new-"
	oldPrefix = ".old-"
)

// discard renames the bundle to a hidden name, so that the machine is gone even if removing
// the files is interrupted.
func (s *Store) discard(id string) (trash string, err error) {
	trash = filepath.Join(s.dir(), fmt.Sprintf("%s%s.%d", oldPrefix, id, time.Now().UnixNano()))
	if err := os.Rename(s.Bundle(id).Dir, trash); err != nil {
		return "", err
	}
	return trash, durable.SyncDir(s.dir())
}

// sweep removes what killed commands left behind: of the machine locked, whose lock the caller
// holds, and of machines that no command changes.
func (s *Store) sweep(locked string) error { return s.eachLeftover(locked, os.RemoveAll) }

// EachLeftover calls f for every directory that a killed command left behind, with its machine
// locked. It skips machines that a command is changing.
func (s *Store) EachLeftover(f func(dir string) error) error { return s.eachLeftover("", f) }

func (s *Store) eachLeftover(locked string, f func(dir string) error) error {
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		id, ok := leftover(e.Name())
		if !ok {
			continue
		}
		dir := filepath.Join(s.dir(), e.Name())
		if id == locked {
			errs = append(errs, f(dir))
			continue
		}
		if unlock, ok := s.machineLock(id).Try(); ok {
			errs = append(errs, f(dir))
			unlock()
		}
	}
	return errors.Join(errs...)
}

// leftover returns the machine of a half-made or half-removed bundle with the given name. A dot
// ends the machine's name, which cannot contain dots.
func leftover(name string) (id string, ok bool) {
	for _, prefix := range []string{newPrefix, oldPrefix} {
		if rest, found := strings.CutPrefix(name, prefix); found {
			id, _, ok = strings.Cut(rest, ".")
			return id, ok
		}
	}
	return "", false
}
