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

// Prefixes of the names of bundles that are being made or removed.
const (
	newPrefix = ".new-"
	oldPrefix = ".old-"
)

// discard renames the bundle out of sight, so that it is gone at once and for good even
// if removing its files is cut short.
func (s *Store) discard(id string) (trash string, err error) {
	trash = filepath.Join(s.dir(), fmt.Sprintf("%s%s.%d", oldPrefix, id, time.Now().UnixNano()))
	if err := os.Rename(s.Bundle(id).Dir, trash); err != nil {
		return "", err
	}
	return trash, durable.SyncDir(s.dir())
}

// sweep removes what killed commands left behind of the machine locked, whose lock is
// held, and of machines that no command works on.
func (s *Store) sweep(locked string) error { return s.eachLeftover(locked, os.RemoveAll) }

// EachLeftover calls f for every directory that a killed command left behind, while no
// command can work on its machine. It skips machines that one works on.
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

// leftover returns the machine whose half-made or half-removed bundle has the name. A dot
// ends the machine's name in it, as no machine's name has one.
func leftover(name string) (id string, ok bool) {
	for _, prefix := range []string{newPrefix, oldPrefix} {
		if rest, found := strings.CutPrefix(name, prefix); found {
			id, _, ok = strings.Cut(rest, ".")
			return id, ok
		}
	}
	return "", false
}
