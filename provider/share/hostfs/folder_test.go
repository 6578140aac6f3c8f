//go:build linux

package hostfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// lookIn looks a name up as a guest's kernel does for a program that is in the directory: if the
// server answers ESTALE, it tries once more.
func lookIn(fs *FS, dir uint64, name string, out *fuse.EntryOut) fuse.Status {
	h := header(dir)
	s := fs.Lookup(nil, &h, name, out)
	if s == stale {
		s = fs.Lookup(nil, &h, name, out)
	}
	return s
}

// A program of the guest works in a directory that the host renames and replaces.
func TestDirectoryStaysTheOneThatItWas(t *testing.T) {
	for name, again := range map[string]func(dir string){
		"renamed":  func(string) {},
		"replaced": func(dir string) { mkdir(t, dir+"/work/sub"); write(t, dir+"/work/sub/file", "another") },
		"a file":   func(dir string) { write(t, dir+"/work", "no directory") },
		"a link": func(dir string) {
			if err := os.Symlink("..", dir+"/work"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, dir := mount(t, false)
			mkdir(t, dir+"/work/sub")
			write(t, dir+"/work/sub/file", "mine")
			sub := lookup(t, fs, lookup(t, fs, root, "work"), "sub")
			lookup(t, fs, sub, "file")
			rename(t, dir+"/work", dir+"/moved")
			again(dir)

			var out fuse.EntryOut
			ok(t, "LOOKUP of a file", lookIn(fs, sub, "file", &out))
			open(t, fs, out.NodeId, unix.O_RDONLY)
			if out.Size != uint64(len("mine")) {
				t.Errorf("the file has %d bytes: it is another one", out.Size)
			}
			if s := lookIn(fs, sub, "none", new(fuse.EntryOut)); s != fuse.ENOENT {
				t.Errorf("LOOKUP of a missing file: %v, want ENOENT", s)
			}
			in := fuse.MkdirIn{InHeader: header(sub), Mode: 0o755}
			ok(t, "MKDIR", fs.Mkdir(nil, &in, "new", new(fuse.EntryOut)))
			if _, err := os.Stat(dir + "/moved/sub/new"); err != nil {
				t.Error(err)
			}
			ok(t, "GETATTR", fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(sub)}, new(fuse.AttrOut)))
		})
	}
}

// A program that comes by path gets what is at the path, also if the guest believes the directory.
func TestPathLeadsToWhatIsThereNow(t *testing.T) {
	fs, dir := mount(t, false)
	mkdir(t, dir+"/one/sub")
	mkdir(t, dir+"/two/sub")
	write(t, dir+"/one/sub/file", "1")
	write(t, dir+"/two/sub/file", "two")
	one := lookup(t, fs, lookup(t, fs, root, "one"), "sub")
	lookup(t, fs, one, "file")
	if err := unix.Renameat2(unix.AT_FDCWD, dir+"/one", unix.AT_FDCWD, dir+"/two", unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	h := header(one)
	if s := fs.Lookup(nil, &h, "file", new(fuse.EntryOut)); s != stale {
		t.Fatalf("LOOKUP in a directory whose parent was swapped: %v, want ESTALE", s)
	}
	var out fuse.EntryOut
	h = header(lookup(t, fs, lookup(t, fs, root, "one"), "sub"))
	ok(t, "LOOKUP", fs.Lookup(nil, &h, "file", &out))
	if out.Size != 3 {
		t.Errorf("the file has %d bytes, want the 3 of the one that is there now", out.Size)
	}
}

func TestDirectoryMovedOutOfTheShareIsLost(t *testing.T) {
	fs, dir := mount(t, false)
	mkdir(t, dir+"/work")
	work := lookup(t, fs, root, "work")
	lookIn(fs, work, "later", new(fuse.EntryOut))
	rename(t, dir+"/work", dir+"/../private")
	write(t, dir+"/../private/later", "secret")
	if s := lookIn(fs, work, "later", new(fuse.EntryOut)); s != stale {
		t.Errorf("LOOKUP: %v, want ESTALE", s)
	}
	in := fuse.MkdirIn{InHeader: header(work), Mode: 0o755}
	if s := fs.Mkdir(nil, &in, "new", new(fuse.EntryOut)); s != stale {
		t.Errorf("MKDIR: %v, want ESTALE", s)
	}
	if s := fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(work)}, new(fuse.AttrOut)); s != stale {
		t.Errorf("GETATTR: %v, want ESTALE", s)
	}
	rename(t, dir+"/../private", dir+"/back")
	ok(t, "LOOKUP in the directory that came back", lookIn(fs, work, "later", new(fuse.EntryOut)))
}

// Also without a descriptor, a directory is never another one.
func TestDirectoryWithoutADescriptorIsNeverAnother(t *testing.T) {
	fs, dir := mount(t, false)
	mkdir(t, dir+"/work")
	write(t, dir+"/work/file", "mine")
	work := lookup(t, fs, root, "work")
	file := lookup(t, fs, work, "file")
	fs.tree.folders.cache.Purge()
	ok(t, "LOOKUP", lookIn(fs, work, "file", new(fuse.EntryOut)))
	fs.tree.folders.cache.Purge()
	rename(t, dir+"/work", dir+"/moved")
	mkdir(t, dir+"/work")
	write(t, dir+"/work/file", "another")
	if s := lookIn(fs, work, "file", new(fuse.EntryOut)); s != stale {
		t.Errorf("LOOKUP: %v, want ESTALE", s)
	}
	in := fuse.OpenIn{InHeader: header(file)}
	if s := fs.Open(nil, &in, new(fuse.OpenOut)); s != stale {
		t.Errorf("OPEN: %v, want ESTALE", s)
	}
}

func TestForgottenDirectoriesAreClosed(t *testing.T) {
	fs, dir := mount(t, false)
	for i := range 100 {
		name := fmt.Sprint(i)
		mkdir(t, dir+"/"+name)
		node := lookup(t, fs, root, name)
		lookIn(fs, node, "none", new(fuse.EntryOut))
		fs.Forget(node, 1)
	}
	if n := fs.tree.folders.cache.Len(); n != 0 {
		t.Errorf("%d descriptors are kept of directories that the guest has forgotten", n)
	}
}

func TestPathMayBeLongerThanTheHostAllows(t *testing.T) {
	fs, dir := mount(t, false)
	name := strings.Repeat("d", 200)
	node := uint64(root)
	for depth := 0; depth*len(name) <= 2*unix.PathMax; depth++ {
		var out fuse.EntryOut
		ok(t, "MKDIR", fs.Mkdir(nil, &fuse.MkdirIn{InHeader: header(node), Mode: 0o755}, name, &out))
		node = out.NodeId
	}
	var out fuse.CreateOut
	in := fuse.CreateIn{InHeader: header(node), Flags: unix.O_RDWR, Mode: 0o644}
	ok(t, "CREATE", fs.Create(nil, &in, "file", &out))
	ok(t, "LOOKUP", lookIn(fs, node, "file", new(fuse.EntryOut)))
	ok(t, "OPENDIR", fs.OpenDir(nil, &fuse.OpenIn{InHeader: header(node)}, new(fuse.OpenOut)))
	h := header(node)
	ok(t, "UNLINK", fs.Unlink(nil, &h, "file"))
	rename(t, dir+"/"+name, dir+"/moved")
	if s := lookIn(fs, node, "file", new(fuse.EntryOut)); s != fuse.ENOENT {
		t.Errorf("LOOKUP after the first directory was renamed: %v, want ENOENT", s)
	}
}
