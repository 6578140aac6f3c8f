//go:build linux

package hostfs

import (
	"os"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const stale = fuse.Status(unix.ESTALE)

// look returns what the guest is told about a name in the root.
func look(t *testing.T, fs *FS, name string) fuse.EntryOut {
	t.Helper()
	h := header(root)
	var out fuse.EntryOut
	ok(t, "LOOKUP "+name, fs.Lookup(nil, &h, name, &out))
	return out
}

// openAgain opens a file as a guest's kernel does: if the server answers ESTALE, it looks the name
// up again. It returns the content that a program reads: the kernel cuts it at the size that it
// knows.
func openAgain(t *testing.T, fs *FS, known fuse.EntryOut, name string) string {
	t.Helper()
	var out fuse.OpenOut
	in := fuse.OpenIn{InHeader: header(known.NodeId)}
	s := fs.Open(nil, &in, &out)
	if s == stale {
		known = look(t, fs, name)
		in = fuse.OpenIn{InHeader: header(known.NodeId)}
		s = fs.Open(nil, &in, &out)
	}
	ok(t, "OPEN "+name, s)
	buf := make([]byte, 100)
	result, s := fs.Read(nil, &fuse.ReadIn{InHeader: header(known.NodeId), Fh: out.Fh, Size: uint32(len(buf))}, buf)
	ok(t, "READ "+name, s)
	content, s := result.Bytes(buf)
	ok(t, "READ "+name, s)
	return string(content[:min(uint64(len(content)), known.Size)])
}

func TestOpenFindsTheFileAsItIsNow(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for edit, change := range map[string]func(path string){
		"in place":          func(path string) { write(t, path, "the newer content") },
		"removed and made":  func(path string) { must(os.Remove(path)); write(t, path, "the newer content") },
		"replaced":          func(path string) { write(t, path+".tmp", "the newer content"); must(os.Rename(path+".tmp", path)) },
		"cut":               func(path string) { must(os.Truncate(path, 1)) },
		"the same size":     func(path string) { write(t, path, "OLD") },
		"moved away and up": func(path string) { must(os.Rename(path, path+".old")); write(t, path, "the newer content") },
	} {
		t.Run(edit, func(t *testing.T) {
			fs, dir := mount(t, false)
			write(t, dir+"/file", "old")
			known := look(t, fs, "file")
			change(dir + "/file")
			if got, want := openAgain(t, fs, known, "file"), read(t, dir+"/file"); got != want {
				t.Errorf("the guest reads %q, want %q", got, want)
			}
		})
	}
}

func TestFilesAreHardlyBelieved(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "")
	if err := os.Symlink("file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "link", "dir"} {
		out := look(t, fs, name)
		if want := map[string]time.Duration{"file": time.Millisecond, "link": 0, "dir": Timeout}[name]; out.EntryTimeout() != want {
			t.Errorf("the guest believes that a name is a %s for %v, want %v", name, out.EntryTimeout(), want)
		}
		if want := map[string]time.Duration{"file": briefly, "link": Timeout, "dir": Timeout}[name]; out.AttrTimeout() != want {
			t.Errorf("the guest believes the attributes of a %s for %v, want %v", name, out.AttrTimeout(), want)
		}
	}
}

// The kernel asks before it reads from its cache, so that a database that is used on both sides
// loses nothing.
func TestAttributesOfALockedFileAreNotBelieved(t *testing.T) {
	a, _, dir := twoOpen(t)
	a.want("lock", a.posix(1, unix.F_RDLCK, 0, 9), fuse.OK)
	var out fuse.AttrOut
	ok(t, "GETATTR", a.fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(a.node)}, &out))
	if err := os.Link(dir+"/file", dir+"/other"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "other"} {
		if entry := look(t, a.fs, name); out.Timeout() != 0 || entry.AttrTimeout() != 0 || entry.NodeId != a.node {
			t.Errorf("the guest believes the attributes of %s for %v and %v", name, out.Timeout(), entry.AttrTimeout())
		}
	}
}

// What a program has read before its first lock, and still believes, may have changed since.
func TestFirstLockIsGrantedWhenNothingIsBelieved(t *testing.T) {
	a, b, _ := twoOpen(t)
	began := time.Now()
	look(t, a.fs, "file")
	a.want("the first lock", a.posix(1, unix.F_WRLCK, 0, 9), fuse.OK)
	if took := time.Since(began); took < briefly {
		t.Errorf("the lock was granted after %v, but the guest believes its attributes for %v", took, briefly)
	}
	if settled := a.fs.tree.nodeOf(t, "file").settled; time.Until(settled) > 0 {
		t.Errorf("later locks wait until %v", settled)
	}
	b.want("another lock", b.posix(2, unix.F_WRLCK, 20, 29), fuse.OK)
}

// nodeOf returns the inode of a name in the root.
func (t *tree) nodeOf(tb testing.TB, name string) *node {
	tb.Helper()
	for h := range t.open {
		if n, child := h.node.parent(); n != nil && child == name {
			return h.node
		}
	}
	tb.Fatalf("%s is not open", name)
	return nil
}

// Changes that follow each other within a tick of the host's clock are still seen by who has locked
// the file.
func TestRecentChangeOfALockedFileIsReadAnew(t *testing.T) {
	a, _, dir := twoOpen(t)
	mtime := func() (out fuse.AttrOut) {
		ok(t, "GETATTR", a.fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(a.node)}, &out))
		return out
	}
	future := time.Now().Add(time.Hour) // as recent as it can be
	if err := os.Chtimes(dir+"/file", future, future); err != nil {
		t.Fatal(err)
	}
	if first, second := mtime(), mtime(); first.Mtimensec != second.Mtimensec {
		t.Error("the time of change of a file without locks varies")
	}
	a.want("lock", a.posix(1, unix.F_RDLCK, 0, 9), fuse.OK)
	if first, second := mtime(), mtime(); first.Mtimensec == second.Mtimensec || first.Mtime != second.Mtime {
		t.Errorf("the guest does not notice that the file may have changed: %d.%09d, %d.%09d", first.Mtime, first.Mtimensec, second.Mtime, second.Mtimensec)
	}
	past := future.Add(-24 * time.Hour)
	if err := os.Chtimes(dir+"/file", past, past); err != nil {
		t.Fatal(err)
	}
	if got := mtime(); int64(got.Mtime) != past.Unix() || int(got.Mtimensec) != past.Nanosecond() {
		t.Errorf("the modification time of an old change is told as %d.%09d, want %v", got.Mtime, got.Mtimensec, past)
	}
}

// Between every lookup and the open that follows it, the host has changed the file.
func TestFileThatNeverRestsIsReadPastTheGuestsCache(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/log", "1")
	in := fuse.OpenIn{InHeader: header(look(t, fs, "log").NodeId)}
	write(t, dir+"/log", "12")
	if s := fs.Open(nil, &in, new(fuse.OpenOut)); s != stale {
		t.Fatalf("the first OPEN: %v, want ESTALE", s)
	}
	look(t, fs, "log")
	write(t, dir+"/log", "123")
	var out fuse.OpenOut
	ok(t, "the second OPEN", fs.Open(nil, &in, &out))
	if out.OpenFlags&fuse.FOPEN_DIRECT_IO == 0 {
		t.Errorf("the second OPEN has flags %#x, want FOPEN_DIRECT_IO", out.OpenFlags)
	}
	look(t, fs, "log")
	out = fuse.OpenOut{}
	ok(t, "an OPEN of the resting file", fs.Open(nil, &in, &out))
	if out.OpenFlags&fuse.FOPEN_DIRECT_IO != 0 {
		t.Error("the guest does without its cache although the file rests")
	}
}

// What the guest itself changes, it knows.
func TestGuestOpensWhatItHasWritten(t *testing.T) {
	fs, _ := mount(t, false)
	f := create(t, fs, "file", 0o644)
	if _, s := fs.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte("content")); !s.Ok() {
		t.Fatal(s)
	}
	open(t, fs, f.NodeId, unix.O_RDONLY)
	in := fuse.RenameIn{InHeader: header(root), Newdir: root}
	ok(t, "RENAME", fs.Rename(nil, &in, "file", "renamed"))
	open(t, fs, f.NodeId, unix.O_RDONLY)
	open(t, fs, f.NodeId, unix.O_WRONLY|unix.O_TRUNC)
	open(t, fs, f.NodeId, unix.O_RDONLY)
}

// A program makes a file that the host has removed since the guest saw it: the kernel opens it,
// must learn that it is gone, and makes it.
func TestRemovedFileIsLookedUpAgain(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "")
	known := look(t, fs, "file")
	if err := os.Remove(dir + "/file"); err != nil {
		t.Fatal(err)
	}
	in := fuse.OpenIn{InHeader: header(known.NodeId), Flags: unix.O_WRONLY}
	if s := fs.Open(nil, &in, new(fuse.OpenOut)); s != stale {
		t.Errorf("OPEN: %v, want ESTALE", s)
	}
	set := fuse.SetAttrIn{}
	set.InHeader, set.Valid, set.Mode = header(known.NodeId), fuse.FATTR_MODE, 0o600
	if s := fs.SetAttr(nil, &set, new(fuse.AttrOut)); s != stale {
		t.Errorf("SETATTR: %v, want ESTALE", s)
	}
	// In its place, and new to the guest, is what CREATE must not open.
	for name, err := range map[string]error{"dir": os.Mkdir(dir+"/dir", 0o755), "link": os.Symlink("dir", dir+"/link")} {
		if err != nil {
			t.Fatal(err)
		}
		in := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: 0o644}
		if s := fs.Create(nil, &in, name, new(fuse.CreateOut)); s != stale {
			t.Errorf("CREATE over a %s: %v, want ESTALE", name, s)
		}
	}
}
