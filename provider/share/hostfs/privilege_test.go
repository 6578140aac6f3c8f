//go:build linux

package hostfs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A guest must not make a program that runs as a user of the host, whatever way it tries. It
// is told which mode the file has.
func TestGuestCannotSetPrivilegesOfAFile(t *testing.T) {
	const all = 0o7755 // with the sticky bit, which is harmless
	tests := map[string]func(*testing.T, *FS) fuse.Attr{
		"CREATE": func(t *testing.T, fs *FS) fuse.Attr { return create(t, fs, "f", all).Attr },
		"CREATE of a file of the host": func(t *testing.T, fs *FS) fuse.Attr {
			create(t, fs, "f", 0o755) // the guest's kernel need not know it
			return create(t, fs, "f", all).Attr
		},
		"MKNOD": func(t *testing.T, fs *FS) fuse.Attr {
			var out fuse.EntryOut
			in := fuse.MknodIn{InHeader: header(root), Mode: unix.S_IFREG | all}
			ok(t, "MKNOD", fs.Mknod(nil, &in, "f", &out))
			return out.Attr
		},
		"MKNOD of a fifo": func(t *testing.T, fs *FS) fuse.Attr {
			var out fuse.EntryOut
			in := fuse.MknodIn{InHeader: header(root), Mode: unix.S_IFIFO | all}
			ok(t, "MKNOD", fs.Mknod(nil, &in, "f", &out))
			return out.Attr
		},
		"SETATTR": func(t *testing.T, fs *FS) fuse.Attr {
			return chmod(t, fs, create(t, fs, "f", 0o755).NodeId, 0, all)
		},
		"SETATTR of an open file": func(t *testing.T, fs *FS) fuse.Attr {
			f := create(t, fs, "f", 0o755)
			return chmod(t, fs, f.NodeId, f.Fh, all)
		},
		"SETATTR of mode and owner": func(t *testing.T, fs *FS) fuse.Attr {
			f := create(t, fs, "f", 0o755)
			in := fuse.SetAttrIn{}
			in.InHeader, in.Valid, in.Mode = header(f.NodeId), fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID, all
			in.Uid, in.Gid = uint32(os.Getuid()), uint32(os.Getgid())
			var out fuse.AttrOut
			ok(t, "SETATTR", fs.SetAttr(nil, &in, &out))
			return out.Attr
		},
		"TMPFILE and LINK": func(t *testing.T, fs *FS) fuse.Attr {
			var out fuse.CreateOut
			in := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR, Mode: all}
			ok(t, "TMPFILE", fs.Tmpfile(nil, &in, &out))
			var linked fuse.EntryOut
			ok(t, "LINK", fs.Link(nil, &fuse.LinkIn{InHeader: header(root), Oldnodeid: out.NodeId}, "f", &linked))
			return linked.Attr
		},
	}
	for name, try := range tests {
		t.Run(name, func(t *testing.T) {
			defer unix.Umask(unix.Umask(0))
			fs, dir := mount(t, false)
			told := try(t, fs)
			st, err := os.Stat(dir + "/f")
			if err != nil || st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 || st.Mode().Perm() != 0o755 {
				t.Errorf("the file has mode %v, want 0755 and at most the sticky bit; %v", st.Mode(), err)
			}
			if told.Mode&0o6777 != 0o755 {
				t.Errorf("the guest is told mode %#o, want 0755", told.Mode&0o7777)
			}
		})
	}
}

// chmod returns the attributes that the guest gets.
func chmod(t *testing.T, fs *FS, node, fh uint64, mode uint32) fuse.Attr {
	t.Helper()
	in := fuse.SetAttrIn{}
	in.InHeader, in.Valid, in.Mode = header(node), fuse.FATTR_MODE, mode
	if fh != 0 {
		in.Valid, in.Fh = in.Valid|fuse.FATTR_FH, fh
	}
	var out fuse.AttrOut
	ok(t, "SETATTR", fs.SetAttr(nil, &in, &out))
	return out.Attr
}

func TestDirectoryKeepsItsSetGroupIDBit(t *testing.T) {
	fs, dir := mount(t, false)
	var made fuse.EntryOut
	ok(t, "MKDIR", fs.Mkdir(nil, &fuse.MkdirIn{InHeader: header(root), Mode: 0o755}, "d", &made))
	if told := chmod(t, fs, made.NodeId, 0, 0o2755); told.Mode&0o7777 != 0o2755 {
		t.Errorf("the guest is told mode %#o, want 02755", told.Mode&0o7777)
	}
	// Another machine, or the host, may have replaced the directory that the guest knows.
	if err := os.Remove(dir + "/d"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/d", "a program")
	chmod(t, fs, made.NodeId, 0, 0o6755)
	if st, err := os.Stat(dir + "/d"); err != nil || st.Mode() != 0o644 {
		t.Errorf("the file in the directory's place has mode %v, want 0644 as before; %v", st.Mode(), err)
	}
}

// The privileges of a program of the host remain as long as the guest only renames or links
// it, and end when the guest changes its content.
func TestProgramOfTheHostLosesPrivilegesWithItsContent(t *testing.T) {
	fs, dir := mount(t, false)
	path := dir + "/program"
	write(t, path, "of the host")
	node := lookup(t, fs, root, "program")
	f, other := open(t, fs, node, unix.O_RDWR), create(t, fs, "other", 0o644)
	if _, s := fs.Write(nil, &fuse.WriteIn{InHeader: header(other.NodeId), Fh: other.Fh}, []byte("x")); !s.Ok() {
		t.Fatal(s)
	}
	size := fuse.SetAttrIn{}
	size.InHeader, size.Valid, size.Size = header(node), fuse.FATTR_SIZE, 3
	sizeOpen := size
	sizeOpen.Valid, sizeOpen.Fh = fuse.FATTR_SIZE|fuse.FATTR_FH, f.Fh
	tests := map[string]struct {
		act  func() fuse.Status
		kept bool
	}{
		"WRITE": {act: func() fuse.Status {
			_, s := fs.Write(nil, &fuse.WriteIn{InHeader: header(node), Fh: f.Fh}, []byte("of the guest"))
			return s
		}},
		"WRITE of a page": {act: func() fuse.Status {
			in := fuse.WriteIn{InHeader: header(node), Fh: f.Fh, WriteFlags: fuse.WRITE_CACHE}
			_, s := fs.Writev(nil, &in, [][]byte{[]byte("of the "), []byte("guest")})
			return s
		}},
		"SETATTR of the size":                 {act: func() fuse.Status { return fs.SetAttr(nil, &size, new(fuse.AttrOut)) }},
		"SETATTR of the size of an open file": {act: func() fuse.Status { return fs.SetAttr(nil, &sizeOpen, new(fuse.AttrOut)) }},
		"FALLOCATE": {act: func() fuse.Status {
			return fs.Fallocate(nil, &fuse.FallocateIn{InHeader: header(node), Fh: f.Fh, Length: 100})
		}},
		"COPY_FILE_RANGE": {act: func() fuse.Status {
			in := fuse.CopyFileRangeIn{InHeader: header(other.NodeId), FhIn: other.Fh, NodeIdOut: node, FhOut: f.Fh, Len: 1}
			_, s := fs.CopyFileRange(nil, &in)
			return s
		}},
		"OPEN with O_TRUNC": {act: func() fuse.Status {
			return fs.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: unix.O_RDWR | unix.O_TRUNC}, new(fuse.OpenOut))
		}},
		"CREATE with O_TRUNC": {act: func() fuse.Status {
			in := fuse.CreateIn{InHeader: header(root), Flags: unix.O_RDWR | unix.O_TRUNC, Mode: 0o644}
			return fs.Create(nil, &in, "program", new(fuse.CreateOut))
		}},
		"OPEN": {kept: true, act: func() fuse.Status {
			return fs.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: unix.O_RDWR}, new(fuse.OpenOut))
		}},
		"LINK": {kept: true, act: func() fuse.Status {
			return fs.Link(nil, &fuse.LinkIn{InHeader: header(root), Oldnodeid: node}, "linked", new(fuse.EntryOut))
		}},
		"RENAME": {kept: true, act: func() fuse.Status {
			in := fuse.RenameIn{InHeader: header(root), Newdir: root}
			if s := fs.Rename(nil, &in, "program", "renamed"); !s.Ok() {
				return s
			}
			return fs.Rename(nil, &in, "renamed", "program")
		}},
	}
	for name, tt := range tests {
		if err := unix.Chmod(path, 0o6755); err != nil {
			t.Fatal(err)
		}
		s := tt.act()
		if s == fuse.Status(unix.EOPNOTSUPP) || s == fuse.ENOSYS || s == fuse.Status(unix.EXDEV) {
			t.Logf("%s: %v, which depends on the file system of the temporary directory", name, s)
			continue
		}
		ok(t, name, s)
		want := os.FileMode(0o755)
		if tt.kept {
			want |= os.ModeSetuid | os.ModeSetgid
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("after %s the mode is %v, want %v; %v", name, st.Mode(), want, err)
		}
	}
}

func TestGuestCannotGiveCapabilities(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/program", "")
	h := header(lookup(t, fs, root, "program"))
	// VFS_CAP_REVISION_2 with CAP_SETUID, permitted and effective.
	value := []byte{1, 0, 0, 2, 1 << 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if s := fs.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h}, "security.capability", value); s != fuse.EPERM {
		t.Errorf("SETXATTR: %v, want EPERM", s)
	}
	if n, err := unix.Getxattr(dir+"/program", "security.capability", nil); err == nil {
		t.Errorf("the program has %d bytes of capabilities", n)
	}
	if _, s := fs.GetXAttr(nil, &h, "security.capability", nil); s == fuse.EPERM {
		t.Error("the guest cannot read that the program has none")
	}
}
