package share_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/share"
	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

// allocated returns how many bytes this process has ever allocated, freed ones included.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// ringOf fills the table of the request queue with a chain: a request, then n buffers over the
// same memory.
func ringOf[In any](g *guest, op uint32, node uint64, in *In, n, size int, flags uint16) {
	g.t.Helper()
	g.unique++
	head := (*fuse.InHeader)(unsafe.Pointer(in))
	head.Opcode, head.NodeId, head.Unique = op, node, g.unique
	head.Length = uint32(unsafe.Sizeof(*in))
	copy(g.f.Mem[slotsAt:], bytesOf(in))
	g.queue.Put(0, vhosttest.Desc{Addr: vhosttest.GuestBase + slotsAt, Len: head.Length, Flags: vhosttest.Next, Next: 1})
	for i := range n {
		d := vhosttest.Desc{Addr: vhosttest.GuestBase + pagesAt, Len: uint32(size), Flags: flags, Next: uint16(i + 2)}
		if i < n-1 {
			d.Flags |= vhosttest.Next
		}
		g.queue.Put(uint16(i+1), d)
	}
	g.queue.Offer(0)
}

// Descriptors may overlap, so a chain may have far more bytes than the guest has memory.
func TestRequestsThatOverlapInMemoryCostNothing(t *testing.T) {
	const buffers, size = 128, 16 << 20
	socket, _, _ := serve(t, share.Options{Dir: folder(t)})
	g := bootWith(t, socket, pagesAt+size)
	file := g.lookup("file")
	fh := g.open(file, unix.O_RDWR)
	tests := map[string]func(){
		"READ": func() {
			in := fuse.ReadIn{Fh: fh, Size: (buffers - 1) * size}
			ringOf(g, opRead, file, &in, buffers, size, vhosttest.Write)
		},
		"SETXATTR": func() { ringOf(g, opSetxattr, file, new(fuse.SetXAttrIn), buffers, size, 0) },
		"SETLKW": func() {
			in := fuse.LkIn{Fh: fh, Lk: fuse.FileLock{Typ: unix.F_WRLCK, End: 1}}
			ringOf(g, opSetlkw, file, &in, buffers, 8<<10, 0)
		},
	}
	for name, try := range tests {
		before := allocated()
		try()
		if u := g.queue.Wait(); u != (vhosttest.Used{}) {
			t.Errorf("%s: answer %+v, want head 0 and no bytes", name, u)
		}
		if got := allocated() - before; got > 1<<20 {
			t.Errorf("%s: the server allocated %d bytes", name, got)
		}
	}
	if g.lookup("file") != file {
		t.Error("the server does not go on")
	}
}

// go-fuse would keep the inode locked, and each later request for it a worker.
func TestGuestThatForgetsTooMuchDoesNotStopTheServer(t *testing.T) {
	socket, result, _ := serve(t, share.Options{Dir: folder(t)})
	g := boot(t, socket)
	for range 20 { // more than the server has workers
		file := g.lookup("file")
		for _, node := range []uint64{file, fuse.FUSE_ROOT_ID} {
			put(g, 0, opForget, node, &fuse.ForgetIn{Nlookup: 1 << 60}, nil)
			g.queue.Wait()
		}
	}
	g.lookup("file")
	_ = g.f.Conn.Close()
	if err := <-result; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("STEAD_TEST_EAT") != "" {
		eat()
	}
	os.Exit(m.Run())
}

var eaten [][]byte

// eat limits the memory of this process, maps more of shared memory, as a guest's is, and then
// takes private memory without end.
func eat() {
	if err := share.LimitMemory(); err != nil {
		println(err.Error())
		os.Exit(3)
	}
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, 8<<30)
	}
	if err == nil {
		_, err = unix.Mmap(fd, 0, 8<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		println("shared memory:", err.Error())
		os.Exit(3)
	}
	for range 256 { // 16 GiB; the pages are never written, so the host has them
		eaten = append(eaten, make([]byte, 64<<20))
	}
	println("took 16 GiB")
	os.Exit(0)
}

func TestProcessWithTooMuchMemoryEnds(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STEAD_TEST_EAT=1")
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	// The second is the race detector's word.
	if err == nil || !strings.Contains(string(out), "out of memory") && !strings.Contains(string(out), "failed to allocate") {
		t.Errorf("the process ended with %v: %.300s", err, out)
	}
}
