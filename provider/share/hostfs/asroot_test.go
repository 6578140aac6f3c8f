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
