package share_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/share"
	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

// serve runs a server and returns its socket, the channel of its result and a function that
// ends it.
func serve(t testing.TB, o share.Options) (string, <-chan error, func()) {
	t.Helper()
	if o.Socket == "" {
		o.Socket = filepath.Join(t.TempDir(), "fs.sock")
	}
	ctx, cancel := context.WithCancel(context.Background())
	result, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		result <- share.Serve(ctx, o)
	}()
	stop := func() { cancel(); <-ended }
	t.Cleanup(stop)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", o.Socket)
		if err == nil {
			_ = conn.Close() // like a caller that waits for the server
			return o.Socket, result, stop
		}
	}
	t.Fatal("the server does not listen")
	return "", nil, nil
}

func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGuestReadsAndWrites(t *testing.T) {
	dir := folder(t)
	socket, result, _ := serve(t, share.Options{Dir: dir})
	g := boot(t, socket)
	file := g.lookup("file")
	fh := g.open(file, unix.O_RDWR)
	var text [7]byte
	g.must("READ", ask(g, opRead, file, &fuse.ReadIn{Fh: fh, Size: 100}, nil, &text))
	if string(text[:]) != "content" {
		t.Errorf("read %q", text)
	}
	var written fuse.WriteOut
	g.must("WRITE", ask(g, opWrite, file, &fuse.WriteIn{Fh: fh, Offset: 7, Size: 6}, []byte(", more"), &written))
	if got, err := os.ReadFile(dir + "/file"); err != nil || string(got) != "content, more" || written.Size != 6 {
		t.Errorf("the file is %q after a write of %d bytes; %v", got, written.Size, err)
	}
	_ = g.f.Conn.Close()
	if err := <-result; err != nil {
		t.Errorf("Serve returned %v after QEMU disconnected", err)
	}
}

func TestTransferOfAMebibyteIsOneRequest(t *testing.T) {
	dir := folder(t)
	socket, _, _ := serve(t, share.Options{Dir: dir})
	g := boot(t, socket)
	file := g.lookup("file")
	fh := g.open(file, unix.O_RDWR)
	const pages = 256
	var want bytes.Buffer
	for i := range pages {
		page := g.f.Mem[pageAt(i) : pageAt(i)+4096]
		for j := range page {
			page[j] = byte(rand.Uint32())
		}
		want.Write(page)
	}
	in := fuse.WriteIn{Fh: fh, Size: pages * 4096}
	in.Length = 80 + pages*4096
	if u := transfer(g, opWrite, file, &in, pages, false, 24); u.Len != 24 {
		t.Fatalf("WRITE: answer of %d bytes", u.Len)
	}
	if got, err := os.ReadFile(dir + "/file"); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("%d bytes written, or others; %v", len(got), err)
	}
	for i := range pages {
		clear(g.f.Mem[pageAt(i) : pageAt(i)+4096])
	}
	if u := transfer(g, opRead, file, &fuse.ReadIn{Fh: fh, Size: pages * 4096}, pages, true, 16); u.Len != 16+pages*4096 {
		t.Fatalf("READ: answer of %d bytes", u.Len)
	}
	var got bytes.Buffer
	for i := range pages {
		got.Write(g.f.Mem[pageAt(i) : pageAt(i)+4096])
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("the data read differs from the data written")
	}
}

func TestReadOnlyShareRefusesEveryChange(t *testing.T) {
	dir := folder(t)
	socket, _, _ := serve(t, share.Options{Dir: dir, ReadOnly: true})
	g := boot(t, socket)
	file := g.lookup("file")
	fh := g.open(file, unix.O_RDONLY)
	const top = fuse.FUSE_ROOT_ID
	name := []byte("file\x00")
	two := []byte("file\x00other\x00")
	var none [0]byte
	size := fuse.SetAttrIn{}
	size.Valid = fuse.FATTR_SIZE
	for what, got := range map[string]fuse.Status{
		"SETATTR":         ask(g, opSetattr, file, &size, nil, &none),
		"SYMLINK":         ask(g, opSymlink, top, new(fuse.InHeader), two, &none),
		"MKNOD":           ask(g, opMknod, top, &fuse.MknodIn{Mode: unix.S_IFREG}, name, &none),
		"MKDIR":           ask(g, opMkdir, top, new(fuse.MkdirIn), name, &none),
		"UNLINK":          ask(g, opUnlink, top, new(fuse.InHeader), name, &none),
		"RMDIR":           ask(g, opRmdir, top, new(fuse.InHeader), name, &none),
		"RENAME2":         ask(g, opRename2, top, &fuse.RenameIn{Newdir: top}, two, &none),
		"LINK":            ask(g, opLink, top, &fuse.LinkIn{Oldnodeid: file}, []byte("new\x00"), &none),
		"OPEN to write":   ask(g, opOpen, file, &fuse.OpenIn{Flags: unix.O_WRONLY}, nil, &none),
		"OPEN with TRUNC": ask(g, opOpen, file, &fuse.OpenIn{Flags: unix.O_RDONLY | unix.O_TRUNC}, nil, &none),
		"WRITE":           ask(g, opWrite, file, &fuse.WriteIn{Fh: fh, Size: 1}, []byte("x"), &none),
		"SETXATTR":        ask(g, opSetxattr, file, &[48]byte{}, []byte("user.a\x00b"), &none),
		"REMOVEXATTR":     ask(g, opRemovexattr, file, new(fuse.InHeader), []byte("user.a\x00"), &none),
		"CREATE":          ask(g, opCreate, top, &fuse.CreateIn{Flags: unix.O_RDWR, Mode: 0o644}, []byte("new\x00"), &none),
		"TMPFILE":         ask(g, opTmpfile, top, &fuse.CreateIn{Flags: unix.O_RDWR, Mode: 0o644}, []byte("/\x00"), &none),
		"FALLOCATE":       ask(g, opFallocate, file, &fuse.FallocateIn{Fh: fh, Length: 1 << 20}, nil, &none),
		"COPY_FILE_RANGE": ask(g, opCopyFileRange, file, &fuse.CopyFileRangeIn{FhIn: fh, NodeIdOut: file, FhOut: fh, Len: 3}, nil, &none),
	} {
		if got != fuse.EROFS {
			t.Errorf("%s: %v, want EROFS", what, got)
		}
	}
	entries, err := os.ReadDir(dir)
	content, rerr := os.ReadFile(dir + "/file")
	if len(entries) != 1 || string(content) != "content" {
		t.Errorf("the directory has changed: %v, %q; %v", entries, content, errors.Join(err, rerr))
	}
}

func TestWaitingForALockDoesNotBlockOtherRequests(t *testing.T) {
	socket, _, _ := serve(t, share.Options{Dir: folder(t)})
	g := boot(t, socket)
	file := g.lookup("file")
	lock := func(fh uint64, typ uint32) *fuse.LkIn {
		return &fuse.LkIn{Fh: fh, LkFlags: fuse.LK_FLOCK, Lk: fuse.FileLock{End: math.MaxInt64, Typ: typ}}
	}
	var none [0]byte
	holder := g.open(file, unix.O_RDWR)
	g.must("SETLK", ask(g, opSetlk, file, lock(holder, unix.F_WRLCK), nil, &none))
	const waiting = 40 // more than there are workers
	for slot := 1; slot <= waiting; slot++ {
		put(g, slot, opSetlkw, file, lock(g.open(file, unix.O_RDWR), unix.F_RDLCK), nil)
	}
	g.lookup("file") // still finds a free worker
	put(g, 0, opSetlk, file, lock(holder, unix.F_UNLCK), nil)
	for range waiting + 1 {
		u := g.queue.Wait()
		g.must("SETLK or SETLKW", g.answer(int(u.Head)/2, u.Len, nil))
	}
}

func TestResetGuestGetsANewFileSystem(t *testing.T) {
	dir := folder(t)
	socket, _, _ := serve(t, share.Options{Dir: dir})
	g := boot(t, socket)
	file := g.lookup("file")
	lock := func(fh uint64) *fuse.LkIn {
		return &fuse.LkIn{Fh: fh, LkFlags: fuse.LK_FLOCK, Lk: fuse.FileLock{End: math.MaxInt64, Typ: unix.F_WRLCK}}
	}
	var none [0]byte
	g.must("SETLK", ask(g, opSetlk, file, lock(g.open(file, unix.O_RDWR)), nil, &none))
	put(g, 1, opSetlkw, file, lock(g.open(file, unix.O_RDWR)), nil)
	g.lookup("file") // is answered after the other request was taken

	g.hiprio.Stop()
	if base := g.queue.Stop(); base != 7 {
		t.Errorf("the ring stopped at %d, want 7", base)
	}
	u := g.queue.Wait()
	if s := g.answer(int(u.Head)/2, u.Len, nil); s != fuse.EINTR {
		t.Errorf("the wait for a lock ended with %v, want EINTR", s)
	}

	g.start(g.f)
	file = g.lookup("file")
	g.must("a lock that the previous kernel held", ask(g, opSetlk, file, lock(g.open(file, unix.O_RDWR)), nil, &none))
}

func TestInvalidRequestsDoNotStopTheServer(t *testing.T) {
	socket, _, _ := serve(t, share.Options{Dir: folder(t)})
	g := boot(t, socket)
	var none [0]byte
	for what, got := range map[string]fuse.Status{
		"unknown operation": ask(g, 4000, 1, new(fuse.InHeader), nil, &none),
		"unknown node":      ask(g, opGetattr, 12345, new(fuse.GetAttrIn), nil, &none),
		"unknown file":      ask(g, opRead, 1, &fuse.ReadIn{Fh: 1 << 40, Size: 10}, nil, &none),
		"name with ..":      ask(g, opLookup, 1, new(fuse.InHeader), []byte("../../etc/passwd\x00"), &none),
	} {
		if got.Ok() {
			t.Errorf("%s succeeded", what)
		}
	}
	for _, d := range []vhosttest.Desc{
		{Addr: vhosttest.GuestBase + slotsAt, Len: 3},
		{Addr: vhosttest.GuestBase + slotsAt, Len: 4096, Flags: vhosttest.Write},
	} {
		g.queue.Put(0, d)
		g.queue.Offer(0)
		if u := g.queue.Wait(); u.Len != 0 {
			t.Errorf("an invalid request was answered with %d bytes", u.Len)
		}
	}
	// FORGET has no answer, and uses a ring of its own.
	at := slotsAt + 2*slotSize
	forget := fuse.ForgetIn{Nlookup: 1}
	forget.NodeId, forget.Opcode, forget.Length = g.lookup("file"), opForget, 48
	copy(g.f.Mem[at:], bytesOf(&forget))
	g.hiprio.Put(0, vhosttest.Desc{Addr: uint64(vhosttest.GuestBase + at), Len: 48})
	g.hiprio.Offer(0)
	if u := g.hiprio.Wait(); u.Len != 0 {
		t.Errorf("FORGET was answered with %d bytes", u.Len)
	}
	g.lookup("file")
}

func TestServeReplacesOnlyADeadSocket(t *testing.T) {
	dir := folder(t)
	socket := filepath.Join(t.TempDir(), "fs.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()

	_, result, stop := serve(t, share.Options{Dir: dir, Socket: socket})
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, want 0600; %v", st.Mode(), err)
	}
	second := share.Serve(context.Background(), share.Options{Dir: dir, Socket: socket})
	if second == nil || !strings.Contains(second.Error(), "listens") {
		t.Errorf("a second server returned %v", second)
	}
	boot(t, socket).lookup("file")
	stop()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve returned %v, want context.Canceled", err)
	}

	socket, _, _ = serve(t, share.Options{Dir: dir, Socket: socket}) // like the machine's next start
	boot(t, socket).lookup("file")
}

func TestServeReportsInvalidOptions(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "fs.sock")
	for want, o := range map[string]share.Options{
		"Options.Dir is required":    {Socket: socket},
		"Options.Socket is required": {Dir: t.TempDir()},
		"no such file or directory":  {Dir: filepath.Join(t.TempDir(), "absent"), Socket: socket},
		"invalid argument":           {Dir: t.TempDir(), Socket: "/" + strings.Repeat("long", 50)},
	} {
		if err := share.Serve(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Serve(%+v) returned %v, want %q", o, err, want)
		}
	}
}
