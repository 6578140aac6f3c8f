//go:build linux

package hostfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const root = fuse.FUSE_ROOT_ID

// mount returns a file system for a new directory, with a secret beside it.
func mount(t testing.TB, readOnly bool) (*FS, string) {
	t.Helper()
	return mountWith(t, Options{ReadOnly: readOnly})
}

func mountWith(t testing.TB, o Options) (*FS, string) {
	t.Helper()
	outer := t.TempDir()
	write(t, filepath.Join(outer, "secret"), "secret")
	dir := filepath.Join(outer, "shared")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fs, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs, dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func header(node uint64) fuse.InHeader {
	return fuse.InHeader{NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}}
}

func ok(t testing.TB, what string, s fuse.Status) {
	t.Helper()
	if !s.Ok() {
		t.Fatalf("%s: %v", what, s)
	}
}

func lookup(t testing.TB, fs *FS, parent uint64, name string) uint64 {
	t.Helper()
	h := header(parent)
	var out fuse.EntryOut
	ok(t, "LOOKUP "+name, fs.Lookup(nil, &h, name, &out))
	return out.NodeId
}

func open(t testing.TB, fs *FS, node uint64, flags uint32) fuse.OpenOut {
	t.Helper()
	var out fuse.OpenOut
	ok(t, "OPEN", fs.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: flags}, &out))
	return out
}

func create(t testing.TB, fs *FS, name string, mode uint32) fuse.CreateOut {
	t.Helper()
	var out fuse.CreateOut
	in := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: mode}
	ok(t, "CREATE "+name, fs.Create(nil, &in, name, &out))
	return out
}

func TestCachedFileIsNotHeldOpen(t *testing.T) {
	fs, dir := mount(t, false)
	descriptors := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	before := descriptors()
	for i := range 100 {
		name := fmt.Sprint(i)
		write(t, filepath.Join(dir, name), "x")
		lookup(t, fs, root, name)
	}
	if after := descriptors(); after >= before+100 {
		t.Errorf("%d descriptors, then %d", before, after)
	}
}

func TestAppendGoesToTheCurrentEnd(t *testing.T) {
	fs, dir := mount(t, false)
	f := create(t, fs, "log", 0o644)
	in := fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Flags: unix.O_APPEND}
	write(t, dir+"/log", "from the host\n") // the guest assumes offset 0
	if _, s := fs.Writev(nil, &in, [][]byte{[]byte("from "), []byte("the guest\n")}); !s.Ok() {
		t.Fatal(s)
	}
	if got := read(t, dir+"/log"); got != "from the host\nfrom the guest\n" {
		t.Errorf("the log is %q", got)
	}
	// A page of a shared mapping keeps its offset, even if the file was opened with O_APPEND.
	in.Offset, in.WriteFlags = 0, fuse.WRITE_CACHE
	if _, s := fs.Writev(nil, &in, [][]byte{[]byte("FROM")}); !s.Ok() {
		t.Fatal(s)
	}
	if got := read(t, dir+"/log"); !strings.HasPrefix(got, "FROM the host\nfrom the guest\n") {
		t.Errorf("the log is %q", got)
	}
}

func TestModesAreSetExactly(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	fs, dir := mount(t, false)
	create(t, fs, "open", 0o666)
	in := fuse.MkdirIn{InHeader: header(root), Mode: 0o1777}
	ok(t, "MKDIR", fs.Mkdir(nil, &in, "sticky", new(fuse.EntryOut)))
	for name, want := range map[string]os.FileMode{"open": 0o666, "sticky": 0o777 | os.ModeSticky | os.ModeDir} {
		if st, err := os.Stat(dir + "/" + name); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v, want %v; %v", name, st.Mode(), want, err)
		}
	}
	write(t, dir+"/none", "")
	if err := os.Chmod(dir+"/none", 0); err != nil {
		t.Fatal(err)
	}
	var out fuse.AttrOut
	ok(t, "GETATTR", fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(lookup(t, fs, root, "none"))}, &out))
	if out.Mode != unix.S_IFREG {
		t.Errorf("mode 000 is shown as %#o", out.Mode)
	}
}

func TestRemovedFileStaysUsableWhileOpen(t *testing.T) {
	fs, _ := mount(t, false)
	f := create(t, fs, "gone", 0o644)
	h := header(root)
	ok(t, "UNLINK", fs.Unlink(nil, &h, "gone"))
	set := fuse.SetAttrIn{}
	set.InHeader, set.Valid, set.Mode, set.Size = header(f.NodeId), fuse.FATTR_MODE|fuse.FATTR_SIZE, 0o600, 5
	var out fuse.AttrOut
	ok(t, "SETATTR", fs.SetAttr(nil, &set, &out))
	if out.Mode&0o7777 != 0o600 || out.Size != 5 || out.Nlink != 0 {
		t.Errorf("mode %#o, size %d, %d links; want 0600, 5, 0", out.Mode, out.Size, out.Nlink)
	}
}

func TestUnnamedFileCanBeLinked(t *testing.T) {
	fs, dir := mount(t, false)
	var out fuse.CreateOut
	in := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: 0o644}
	ok(t, "TMPFILE", fs.Tmpfile(nil, &in, &out))
	if _, s := fs.Write(nil, &fuse.WriteIn{InHeader: header(out.NodeId), Fh: out.Fh}, []byte("whole")); !s.Ok() {
		t.Fatal(s)
	}
	link := fuse.LinkIn{InHeader: header(root), Oldnodeid: out.NodeId}
	ok(t, "LINK", fs.Link(nil, &link, "named", new(fuse.EntryOut)))
	if got := read(t, dir+"/named"); got != "whole" {
		t.Errorf("content %q", got)
	}
}

func TestGuestsCacheIsKeptOnlyForAnUnchangedFile(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "none")
	file := lookup(t, fs, root, "file")
	kept := func() bool {
		lookup(t, fs, root, "file")
		return open(t, fs, file, unix.O_RDONLY).OpenFlags&fuse.FOPEN_KEEP_CACHE != 0
	}
	for young, tries := false, 0; !young; tries++ {
		if tries == 100 {
			t.Fatalf("a file could not be opened twice within %v of its change", Timeout)
		}
		write(t, dir+"/file", "one")
		first, second := kept(), kept()
		young = time.Since(changed(t, dir+"/file")) < Timeout // a busy host may take long
		if young && (first || second) {
			t.Error("kept although the last change is too recent to detect the next one")
		}
	}
	for time.Since(changed(t, dir+"/file")) <= Timeout {
		time.Sleep(Timeout / 10)
	}
	if kept() {
		t.Error("kept at the first open")
	}
	if !kept() {
		t.Error("dropped although nothing changed")
	}
	write(t, dir+"/file", "two")
	if kept() {
		t.Error("kept although the file has changed")
	}
}

func changed(t *testing.T, path string) time.Time {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return time.Unix(st.Ctim.Unix())
}

func TestExtendedAttributes(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "")
	h := header(lookup(t, fs, root, "file"))
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default", "security.selinux"} {
		if _, s := fs.GetXAttr(nil, &h, name, nil); s != fuse.Status(unix.EOPNOTSUPP) {
			t.Errorf("GETXATTR %s: %v", name, s)
		}
		if s := fs.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h}, name, []byte("x")); s != fuse.Status(unix.EOPNOTSUPP) {
			t.Errorf("SETXATTR %s: %v", name, s)
		}
	}
	s := fs.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h}, "user.colour", []byte("blue"))
	if s == fuse.Status(unix.EOPNOTSUPP) {
		t.Skip("the file system of the temporary directory has no user attributes, but CI's has")
	}
	ok(t, "SETXATTR", s)
	buf := make([]byte, 100)
	if n, s := fs.GetXAttr(nil, &h, "user.colour", buf); !s.Ok() || string(buf[:n]) != "blue" {
		t.Errorf("GETXATTR: %q, %v", buf[:n], s)
	}
	if n, s := fs.ListXAttr(nil, &h, buf); !s.Ok() || !bytes.Contains(buf[:n], []byte("user.colour\x00")) {
		t.Errorf("LISTXATTR: %q, %v", buf[:n], s)
	}
	if _, s := fs.ListXAttr(nil, &h, buf[:1]); s != fuse.ERANGE {
		t.Errorf("LISTXATTR into one byte: %v, want ERANGE", s)
	}
	ok(t, "REMOVEXATTR", fs.RemoveXAttr(nil, &h, "user.colour"))
}
