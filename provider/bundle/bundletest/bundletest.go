// Package bundletest helps to test what happens to bundles and their disks.
package bundletest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/size"
)

// A marked disk has this text at an offset where its file system is empty.
const (
	mark   = "precious"
	markAt = 63 * size.MiB
)

// Mark marks a disk, to recognize it and its copies.
func Mark(t *testing.T, disk string) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(mark), markAt); err != nil {
		t.Fatal(err)
	}
}

// CheckMarked checks that a disk is a marked one or a copy of it.
func CheckMarked(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(mark))
	if _, err := f.ReadAt(got, markAt); err != nil || string(got) != mark {
		t.Errorf("%s has lost its data: %q, %v", disk, got, err)
	}
}

// Names returns the names in the store's directory of machines, without locks.
func Names(t *testing.T, s *bundle.Store) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Home(), "machines"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}
