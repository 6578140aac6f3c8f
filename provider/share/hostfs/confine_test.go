//go:build linux

package hostfs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

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

// The guest has cached a directory that a link out of the share then replaces.
func TestLinkThatReplacedADirectoryIsNotFollowed(t *testing.T) {
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
	if s := fs.Lookup(nil, &h, "secret", new(fuse.EntryOut)); s != stale {
		t.Errorf("LOOKUP in a directory that was moved: %v, want ESTALE", s)
	}
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
	if s := calls["OPEN"]; s.Ok() {
		t.Error("OPEN followed the link")
	}
	// The directory that the guest has is the one that it was.
	if _, err := os.Stat(dir + "/elsewhere/new"); err != nil {
		t.Errorf("the new directory is not in the one that was moved; the calls returned %v", calls)
	}
	outer, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(outer) != 2 {
		t.Errorf("beside the share are %v, want the share and the secret; %v", outer, err)
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
		// A guest that has not seen the name sends CREATE.
		create := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: 0o644}
		if s := fs.Create(nil, &create, name, new(fuse.CreateOut)); s.Ok() {
			t.Errorf("CREATE over a %s succeeded", name)
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

// readOnlyFS must handle every method that go-fuse adds to its interface.
func TestReadOnlyShareOverridesEveryMethodThatWrites(t *testing.T) {
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

func TestReadOnlyShareOpensForReadingOnly(t *testing.T) {
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
