//go:build linux

package hostfs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A server that runs as root acts for the users of the guest.
func TestNewFilesBelongToTheGuestsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root; CI also runs the tests as root")
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

func TestWriteByAnOrdinaryUserClearsTheSetUserIDBit(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, whose writes do not clear the bit on the host; CI also runs the tests as root")
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
