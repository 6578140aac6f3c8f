//go:build linux

package hostfs

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const root = fuse.FUSE_ROOT_ID

// mount is a file system on a folder of its own, with a secret beside it.
func mount(t testing.TB, readOnly bool) (*FS, string) {
	t.Helper()
	outer := t.TempDir()
	write(t, filepath.Join(outer, "secret"), "secret")
	dir := filepath.Join(outer, "shared")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fs, err := New(dir, readOnly)
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

func TestNamesThatArePathsAreRefused(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "x")
	file := lookup(t, fs, root, "file")
	for _, name := range []string{"", ".", "..", "../secret", "a/b", "/etc", "nul\x00byte", strings.Repeat("n", 256)} {
		h := header(root)
		calls := map[string]fuse.Status{
			"LOOKUP":  fs.Lookup(nil, &h, name, new(fuse.EntryOut)),
			"MKNOD":   fs.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: unix.S_IFREG}, name, new(fuse.EntryOut)),
			"MKDIR":   fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, name, new(fuse.EntryOut)),
			"UNLINK":  fs.Unlink(nil, &h, name),
			"RMDIR":   fs.Rmdir(nil, &h, name),
			"SYMLINK": fs.Symlink(nil, &h, "target", name, new(fuse.EntryOut)),
			"LINK":    fs.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: file}, name, new(fuse.EntryOut)),
			"CREATE":  fs.Create(nil, &fuse.CreateIn{InHeader: h}, name, new(fuse.CreateOut)),
			"from":    fs.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: root}, name, "fine"),
			"to":      fs.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: root}, "file", name),
		}
		for op, s := range calls {
			if s != fuse.EINVAL && s != fuse.Status(syscall.ENAMETOOLONG) {
				t.Errorf("%s %.20q: %v", op, name, s)
			}
		}
	}
}

// The guest knows a folder; then a link out of the share takes its place.
func TestALinkThatTookAFoldersPlaceIsNotFollowed(t *testing.T) {
	fs, dir := mount(t, false)
	if err := os.Mkdir(dir+"/folder", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/folder/secret", "harmless")
	folder := lookup(t, fs, root, "folder")
	file := lookup(t, fs, folder, "secret")
	if err := os.Rename(dir+"/folder", dir+"/elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", dir+"/folder"); err != nil {
		t.Fatal(err)
	}
	h := header(folder)
	set := fuse.SetAttrIn{}
	set.InHeader, set.Valid, set.Mode = header(file), fuse.FATTR_MODE|fuse.FATTR_SIZE, 0o777
	calls := map[string]fuse.Status{
		"LOOKUP":  fs.Lookup(nil, &h, "secret", new(fuse.EntryOut)),
		"UNLINK":  fs.Unlink(nil, &h, "secret"),
		"MKDIR":   fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, "new", new(fuse.EntryOut)),
		"OPENDIR": fs.OpenDir(nil, &fuse.OpenIn{InHeader: h}, new(fuse.OpenOut)),
		"OPEN":    fs.Open(nil, &fuse.OpenIn{InHeader: header(file), Flags: unix.O_RDWR | unix.O_TRUNC}, new(fuse.OpenOut)),
		"SETATTR": fs.SetAttr(nil, &set, new(fuse.AttrOut)),
		"RENAME":  fs.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: root}, "secret", "mine"),
	}
	for op, s := range calls {
		if s.Ok() {
			t.Errorf("%s went through the link", op)
		}
	}
	if got := read(t, filepath.Dir(dir)+"/secret"); got != "secret" {
		t.Errorf("the secret is now %q", got)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	fs, dir := mount(t, false)
	if err := unix.Mkfifo(dir+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "link"} {
		in := fuse.OpenIn{InHeader: header(lookup(t, fs, root, name))}
		if s := fs.Open(nil, &in, new(fuse.OpenOut)); s != fuse.EPERM {
			t.Errorf("OPEN of a %s: %v, want EPERM", name, s)
		}
		// The guest saw no such name; so it comes as CREATE.
		make := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: 0o644}
		if s := fs.Create(nil, &make, name, new(fuse.CreateOut)); s.Ok() {
			t.Errorf("CREATE over a %s went well", name)
		}
	}
	dev := fuse.MknodIn{InHeader: header(root), Mode: unix.S_IFBLK | 0o666, Rdev: 8 << 8}
	if s := fs.Mknod(nil, &dev, "disk", new(fuse.EntryOut)); s != fuse.EPERM {
		t.Errorf("MKNOD of a disk: %v, want EPERM", s)
	}
}

func TestIoctlsDoNotReachTheHost(t *testing.T) {
	fs, _ := mount(t, false)
	f := create(t, fs, "file", 0o644)
	in := fuse.IoctlIn{InHeader: header(f.NodeId), Fh: f.Fh, Cmd: 2, Arg: 0xdead0000}
	if s := fs.Ioctl(nil, &in, nil, new(fuse.IoctlOut), nil); s != fuse.Status(syscall.ENOTTY) {
		t.Errorf("IOCTL: %v, want ENOTTY", s)
	}
}

// Whatever go-fuse adds to its interface, a read-only share must know about it.
func TestAReadOnlyShareRefusesAllThatIsNotKnownToBeHarmless(t *testing.T) {
	harmless := "String SetDebug Lookup Forget GetAttr Readlink Access GetXAttr ListXAttr Open Read Lseek GetLk SetLk SetLkw " +
		"Release Ioctl Flush Fsync OpenDir ReadDir ReadDirPlus ReleaseDir FsyncDir StatFs Statx Init OnUnmount"
	refused := reflect.ValueOf(&readOnlyFS{})
	for m := range reflect.TypeFor[fuse.RawFileSystem]().Methods() {
		if strings.Contains(" "+harmless+" ", " "+m.Name+" ") {
			continue
		}
		f := refused.MethodByName(m.Name)
		args := make([]reflect.Value, f.Type().NumIn())
		for i := range args {
			args[i] = reflect.Zero(f.Type().In(i))
		}
		results := f.Call(args) // panics if the method is only inherited
		if s := results[len(results)-1].Interface(); s != fuse.EROFS {
			t.Errorf("%s: %v, want EROFS", m.Name, s)
		}
	}
}

func TestAReadOnlyShareOpensForReadingOnly(t *testing.T) {
	fs, dir := mount(t, true)
	write(t, dir+"/file", "content")
	file := lookup(t, fs, root, "file")
	for _, flags := range []uint32{unix.O_WRONLY, unix.O_RDWR, 3, unix.O_RDONLY | unix.O_TRUNC, unix.O_RDWR | unix.O_TRUNC} {
		in := fuse.OpenIn{InHeader: header(file), Flags: flags}
		if s := fs.Open(nil, &in, new(fuse.OpenOut)); s != fuse.EROFS {
			t.Errorf("OPEN with flags %#x: %v, want EROFS", flags, s)
		}
	}
	if s := fs.Access(nil, &fuse.AccessIn{InHeader: header(file), Mask: fuse.W_OK}); s != fuse.EROFS {
		t.Errorf("ACCESS for writing: %v, want EROFS", s)
	}
	open(t, fs, file, unix.O_RDONLY)
	if got := read(t, dir+"/file"); got != "content" {
		t.Errorf("the file is now %q", got)
	}
}

func TestAnAppendGoesToTheEndThatTheFileHasNow(t *testing.T) {
	fs, dir := mount(t, false)
	f := create(t, fs, "log", 0o644)
	in := fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Flags: unix.O_APPEND}
	write(t, dir+"/log", "from the host\n") // the guest believes in offset 0
	if _, s := fs.Writev(nil, &in, [][]byte{[]byte("from "), []byte("the guest\n")}); !s.Ok() {
		t.Fatal(s)
	}
	if got := read(t, dir+"/log"); got != "from the host\nfrom the guest\n" {
		t.Errorf("the log is %q", got)
	}
	// A page of a shared mapping has its place, whoever opened the file.
	in.Offset, in.WriteFlags = 0, fuse.WRITE_CACHE
	if _, s := fs.Writev(nil, &in, [][]byte{[]byte("FROM")}); !s.Ok() {
		t.Fatal(s)
	}
	if got := read(t, dir+"/log"); !strings.HasPrefix(got, "FROM the host\nfrom the guest\n") {
		t.Errorf("the log is %q", got)
	}
}

func TestModesAreTheGuests(t *testing.T) {
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

func TestARemovedFileLivesWhileItIsOpen(t *testing.T) {
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

func TestAFileWithoutANameCanGetOne(t *testing.T) {
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

func TestTheGuestsCacheIsKeptOnlyWhileTheFileStaysTheSame(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "one")
	file := lookup(t, fs, root, "file")
	kept := func() bool { return open(t, fs, file, unix.O_RDONLY).OpenFlags&fuse.FOPEN_KEEP_CACHE != 0 }
	if kept() || kept() {
		t.Error("kept although the last change is too young to tell the next one from it")
	}
	for time.Since(changed(t, dir+"/file")) <= Timeout {
		time.Sleep(Timeout / 10)
	}
	if kept() {
		t.Error("kept at the first opening")
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

func TestAttributesOfTheHostsPolicyAreNotSupported(t *testing.T) {
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
		t.Skip("the file system of the temporary folder has no user attributes; CI's has")
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

// A server run by root acts for the users of the guest.
func TestFilesMadeForRootBelongToTheGuestsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root; CI runs the tests once as root")
	}
	fs, dir := mount(t, false)
	if err := unix.Mkdir(dir+"/group", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chown(dir+"/group", 0, 77); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(dir+"/group", 0o2777); err != nil {
		t.Fatal(err)
	}
	group := lookup(t, fs, root, "group")
	for parent, wantGID := range map[uint64]uint32{root: 1234, group: 77} {
		h := header(parent)
		h.Uid, h.Gid = 1234, 1234
		var made fuse.CreateOut
		ok(t, "CREATE", fs.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o644}, "f", &made))
		var dirOut, linkOut fuse.EntryOut
		ok(t, "MKDIR", fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "d", &dirOut))
		ok(t, "SYMLINK", fs.Symlink(nil, &h, "x", "l", &linkOut))
		for what, a := range map[string]fuse.Attr{"file": made.Attr, "folder": dirOut.Attr, "link": linkOut.Attr} {
			if a.Uid != 1234 || a.Gid != wantGID {
				t.Errorf("a new %s belongs to %d:%d, want 1234:%d", what, a.Uid, a.Gid, wantGID)
			}
		}
	}
}

func TestWritingByAnOrdinaryUserClearsTheSetUserIDBit(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, whose writes the host lets pass; CI runs the tests once as root")
	}
	fs, dir := mount(t, false)
	f := create(t, fs, "program", 0o755)
	for what, act := range map[string]func() fuse.Status{
		"WRITE": func() fuse.Status {
			in := fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, WriteFlags: fuse.WRITE_KILL_SUIDGID}
			_, s := fs.Write(nil, &in, []byte("x"))
			return s
		},
		"SETATTR": func() fuse.Status {
			set := fuse.SetAttrIn{}
			set.InHeader, set.Valid = header(f.NodeId), fuse.FATTR_SIZE|fuse.FATTR_KILL_SUIDGID
			return fs.SetAttr(nil, &set, new(fuse.AttrOut))
		},
		"OPEN": func() fuse.Status {
			in := fuse.OpenIn{InHeader: header(f.NodeId), Flags: unix.O_RDWR | unix.O_TRUNC, Mode: fuse.OPEN_KILL_SUIDGID}
			return fs.Open(nil, &in, new(fuse.OpenOut))
		},
	} {
		if err := unix.Chmod(dir+"/program", 0o6755); err != nil {
			t.Fatal(err)
		}
		ok(t, what, act())
		if st, err := os.Stat(dir + "/program"); err != nil || st.Mode() != 0o755 {
			t.Errorf("after %s the mode is %v, want 0755; %v", what, st.Mode(), err)
		}
	}
}
