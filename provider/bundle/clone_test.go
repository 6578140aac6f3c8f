package bundle

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-vm/stead/provider/space"
)

// sparseFile creates a file with a little data in several places. check fails unless a copy
// has the same data and occupies little space.
func sparseFile(t *testing.T) (path string, size int64, check func(copied string)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "disk")
	size = 1 << 30
	places := []int64{0, 100 << 20, size - 5}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range places {
		if _, err := f.WriteAt([]byte("hello"), off); err != nil {
			t.Fatal(err)
		}
	}
	return path, size, func(copied string) {
		t.Helper()
		got, err := os.Open(copied)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		for _, off := range places {
			buf := make([]byte, 5)
			if _, err := got.ReadAt(buf, off); err != nil || string(buf) != "hello" {
				t.Errorf("at %d: %q, %v", off, buf, err)
			}
		}
		if info, err := got.Stat(); err != nil || info.Size() != size {
			t.Errorf("%v, %v, want %d bytes", info, err, size)
		}
		if info, err := os.Stat(copied); err != nil || space.Of(info).Real > 10<<20 {
			t.Errorf("the copy occupies %+v bytes, %v", info, err)
		}
	}
}

func TestCloneKeepsDataAndHoles(t *testing.T) {
	src, _, check := sparseFile(t)
	dst := filepath.Join(t.TempDir(), "copy")
	if err := CloneFile(t.Context(), dst, src); err != nil {
		t.Fatal(err)
	}
	check(dst)
}

// A copied link would make two machines share a disk.
func TestCloneOfALinkCopiesItsFile(t *testing.T) {
	src, _, check := sparseFile(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(src, link); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "copy")
	if err := CloneFile(t.Context(), dst, link); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(dst); err != nil || !info.Mode().IsRegular() {
		t.Fatalf("the copy is %v, %v", info, err)
	}
	check(dst)
}

func TestCopyOfZerosLeavesHoles(t *testing.T) {
	src, size, check := sparseFile(t)
	in, err1 := os.Open(src)
	out, err2 := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	if err := errors.Join(out.Truncate(size), copyOccupied(out, in, 0, size)); err != nil {
		t.Fatal(err)
	}
	check(out.Name())
	if err := copyOccupied(out, in, size-2, 3); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("beyond the end: %v", err)
	}
}
