//go:build linux

package hostfs

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A guest that never forgets cannot make the server remember without limit. One that forgets
// can look at any number of files.
func TestGuestThatNeverForgetsIsRefused(t *testing.T) {
	const limit = 200
	var logged bytes.Buffer
	fs, dir := mountWith(t, Options{MaxNodes: limit, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	for i := range 2 * limit {
		write(t, fmt.Sprintf("%s/%d", dir, i), "x")
	}
	h := header(root)
	look := func(name string) (uint64, fuse.Status) {
		var out fuse.EntryOut
		s := fs.Lookup(nil, &h, name, &out)
		return out.NodeId, s
	}
	var known []uint64
	for i := range 2 * limit {
		node, s := look(fmt.Sprint(i))
		if !s.Ok() {
			if s != fuse.Status(unix.ENFILE) {
				t.Fatalf("LOOKUP of file %d: %v, want ENFILE", i, s)
			}
			break
		}
		known = append(known, node)
	}
	if len(known) < limit*9/10 || len(known) > limit {
		t.Fatalf("the guest could look up %d files, want %d", len(known), limit)
	}
	in := fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o644}
	if s := fs.Create(nil, &in, "new", new(fuse.CreateOut)); s != fuse.Status(unix.ENFILE) {
		t.Errorf("CREATE: %v, want ENFILE", s)
	}
	if s := fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, "new", new(fuse.EntryOut)); s != fuse.Status(unix.ENFILE) {
		t.Errorf("MKDIR: %v, want ENFILE", s)
	}
	if _, err := os.Lstat(dir + "/new"); err == nil {
		t.Error("a refused file was created")
	}
	if node, s := look("0"); !s.Ok() || node != known[0] {
		t.Errorf("a known file: node %d, %v; want %d", node, s, known[0])
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, logged.String())
	}

	// The guest forgets, after which it knows file 0 only.
	for _, node := range known {
		fs.Forget(node, 1)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, s := look(fmt.Sprint(2*limit - 1))
		if s.Ok() {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("LOOKUP after the guest has forgotten: %v", s)
		}
	}
}

func TestWalkOverMoreFilesThanTheLimit(t *testing.T) {
	const limit, files = 50, 120
	fs, dir := mountWith(t, Options{MaxNodes: limit})
	for i := range files {
		write(t, fmt.Sprintf("%s/%d", dir, i), "x")
	}
	for i := range files {
		name := fmt.Sprint(i)
		for end := time.Now().Add(time.Minute); ; {
			var out fuse.EntryOut
			h := header(root)
			if s := fs.Lookup(nil, &h, name, &out); s.Ok() {
				fs.Forget(out.NodeId, 1)
				break
			} else if time.Now().After(end) {
				t.Fatalf("LOOKUP %s: %v", name, s)
			}
		}
	}
}

// Forgetting a directory before its files does not make the server forget it.
func TestForgottenDirectoriesCount(t *testing.T) {
	const limit = 100
	fs, dir := mountWith(t, Options{MaxNodes: limit})
	parent := uint64(root)
	for depth := range 2 * limit {
		dir += "/d"
		if err := unix.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var out fuse.EntryOut
		h := header(parent)
		s := fs.Lookup(nil, &h, "d", &out)
		if s == fuse.Status(unix.ENFILE) && depth >= limit*9/10 {
			return
		}
		ok(t, "LOOKUP", s)
		if parent != root {
			fs.Forget(parent, 1)
		}
		parent = out.NodeId
	}
	t.Error("the guest could look up any number of directories")
}

func TestOpenDirectoriesAreLimited(t *testing.T) {
	fs, _ := mount(t, false)
	fs.tree.dirs.Store(maxDirs - 1)
	var first fuse.OpenOut
	in := fuse.OpenIn{InHeader: header(root)}
	ok(t, "OPENDIR", fs.OpenDir(nil, &in, &first))
	if s := fs.OpenDir(nil, &in, new(fuse.OpenOut)); s != fuse.Status(unix.ENFILE) {
		t.Errorf("OPENDIR: %v, want ENFILE", s)
	}
	fs.ReleaseDir(&fuse.ReleaseIn{InHeader: header(root), Fh: first.Fh})
	ok(t, "OPENDIR after RELEASEDIR", fs.OpenDir(nil, &in, new(fuse.OpenOut)))
}

func TestLargeDirectoryIsListedCompletely(t *testing.T) {
	fs, dir := mount(t, false)
	const files = 3 * batch // with "." and "..", not a multiple of the batch
	for i := range files {
		write(t, fmt.Sprintf("%s/%d", dir, i), "")
	}
	for _, size := range []int{64, 4 << 10, 1 << 20} {
		var o fuse.OpenOut
		ok(t, "OPENDIR", fs.OpenDir(nil, &fuse.OpenIn{InHeader: header(root)}, &o))
		seen, off, largest := map[string]bool{}, uint64(0), 0
		for {
			buf := make([]byte, size)
			list := fuse.NewDirEntryList(buf, off)
			in := fuse.ReadIn{InHeader: header(root), Fh: o.Fh, Offset: off, Size: uint32(size)}
			ok(t, "READDIR", fs.ReadDir(nil, &in, list))
			names := direntNames(buf)
			if len(names) == 0 {
				break
			}
			largest = max(largest, len(names))
			for _, name := range names {
				if seen[name] {
					t.Fatalf("%q was listed twice", name)
				}
				seen[name] = true
			}
			off = list.Offset
		}
		if len(seen) != files+2 || largest > batch {
			t.Errorf("with a buffer of %d bytes, %d names were listed, at most %d at once; want %d and %d", size, len(seen), largest, files+2, batch)
		}
		fs.ReleaseDir(&fuse.ReleaseIn{InHeader: header(root), Fh: o.Fh})
	}
}

// direntNames decodes entries: inode, offset, length of the name, type, name, padding.
func direntNames(b []byte) (names []string) {
	for len(b) >= 24 {
		n := int(b[16]) | int(b[17])<<8
		if n == 0 {
			return names
		}
		names = append(names, string(b[24:24+n]))
		b = b[min(len(b), (24+n+7)&^7):]
	}
	return names
}

// go-fuse would panic and keep the inode locked.
func TestForgettingMoreThanWasLookedUpIsHarmless(t *testing.T) {
	log.SetOutput(io.Discard) // go-fuse's panic is also logged
	defer log.SetOutput(os.Stderr)
	fs, dir := mount(t, false)
	write(t, dir+"/file", "")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				func() {
					defer func() { _ = recover() }() // as go-fuse does, which knows no such node
					h := header(root)
					var out fuse.EntryOut
					fs.Lookup(nil, &h, "file", &out)
					fs.Forget(out.NodeId, 1000)
					fs.Forget(root, 1000)
				}()
			}
		})
	}
	wg.Wait()
	lookup(t, fs, root, "file")
}
