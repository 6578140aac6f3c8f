package share_test

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/stead-vm/stead/provider/share/vhostuser/vhosttest"
)

// Operations of FUSE, from linux/fuse.h.
const (
	opLookup        = 1
	opForget        = 2
	opGetattr       = 3
	opSetattr       = 4
	opSymlink       = 6
	opMknod         = 8
	opMkdir         = 9
	opUnlink        = 10
	opRmdir         = 11
	opLink          = 13
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opRelease       = 18
	opSetxattr      = 21
	opRemovexattr   = 24
	opInit          = 26
	opSetlk         = 32
	opSetlkw        = 33
	opCreate        = 35
	opFallocate     = 43
	opRename2       = 45
	opCopyFileRange = 47
	opTmpfile       = 51
)

const (
	memSize   = 8 << 20
	queueSize = 256
	hiprioAt  = 0
	queueAt   = 64 << 10
	slotsAt   = 1 << 20 // requests, one slot each
	slotSize  = 64 << 10
	answerAt  = 32 << 10 // offset of the answer in a slot
	pagesAt   = 4 << 20  // pages for large transfers
	allBits   = vhosttest.FeatVersion1 | vhosttest.FeatProtocol | vhosttest.FeatEventIdx | vhosttest.FeatIndirect
)

// guest simulates a kernel that has mounted the share.
type guest struct {
	t      testing.TB
	f      *vhosttest.Frontend
	hiprio *vhosttest.Queue
	queue  *vhosttest.Queue
	unique uint64
}

func boot(t testing.TB, socket string) *guest {
	t.Helper()
	return bootWith(t, socket, memSize)
}

func bootWith(t testing.TB, socket string, memory int) *guest {
	t.Helper()
	g := &guest{t: t, f: vhosttest.Dial(t, socket, memory)}
	g.f.Start(allBits)
	g.start(g.f)
	return g
}

// start does what the guest's driver does at each boot.
func (g *guest) start(f *vhosttest.Frontend) {
	g.t.Helper()
	clear(f.Mem[:slotsAt])
	g.hiprio = f.Queue(0, queueSize, hiprioAt, true)
	g.queue = f.Queue(1, queueSize, queueAt, true)
	g.hiprio.Start(0)
	g.queue.Start(0)
	in := fuse.InitIn{Major: 7, Minor: 38, MaxReadAhead: 128 << 10, Flags: ^uint32(0)}
	var out fuse.InitOut
	g.must("INIT", ask(g, opInit, 0, &in, nil, &out))
	if out.MaxWrite != 1<<20 || out.MaxPages != 256 {
		g.t.Errorf("INIT offers writes of %d bytes and %d pages, want 1 MiB", out.MaxWrite, out.MaxPages)
	}
}

func (g *guest) must(what string, s fuse.Status) {
	g.t.Helper()
	if !s.Ok() {
		g.t.Fatalf("%s: %v", what, s)
	}
}

// bytesOf encodes the fixed part of a request or an answer.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// put writes a request into a slot of the memory and offers it. in begins with the header.
func put[In any](g *guest, slot int, op uint32, node uint64, in *In, data []byte) {
	g.t.Helper()
	g.unique++
	head := (*fuse.InHeader)(unsafe.Pointer(in))
	head.Opcode, head.NodeId, head.Unique = op, node, g.unique
	head.Length = uint32(int(unsafe.Sizeof(*in)) + len(data))
	at := slotsAt + slot*slotSize
	n := copy(g.f.Mem[at:], bytesOf(in))
	n += copy(g.f.Mem[at+n:at+answerAt], data)
	clear(g.f.Mem[at+answerAt : at+slotSize])
	first := uint16(2 * slot)
	g.queue.Put(first, vhosttest.Desc{Addr: uint64(vhosttest.GuestBase + at), Len: uint32(n), Flags: vhosttest.Next, Next: first + 1})
	g.queue.Put(first+1, vhosttest.Desc{
		Addr: uint64(vhosttest.GuestBase + at + answerAt), Len: slotSize - answerAt, Flags: vhosttest.Write,
	})
	g.queue.Offer(first)
}

// answer reads the answer to the slot's request.
func (g *guest) answer(slot int, used uint32, out []byte) fuse.Status {
	g.t.Helper()
	b := g.f.Mem[slotsAt+slot*slotSize+answerAt:]
	if used < 16 || binary.LittleEndian.Uint32(b) != used {
		g.t.Fatalf("an answer of %d bytes has %d in its header", used, binary.LittleEndian.Uint32(b))
	}
	copy(out, b[16:used])
	return fuse.Status(-int32(binary.LittleEndian.Uint32(b[4:])))
}

// ask sends one request and waits for its answer.
func ask[In, Out any](g *guest, op uint32, node uint64, in *In, data []byte, out *Out) fuse.Status {
	g.t.Helper()
	put(g, 0, op, node, in, data)
	used := g.queue.Wait()
	if used.Head != 0 {
		g.t.Fatalf("an answer for descriptor %d, want 0", used.Head)
	}
	return g.answer(0, used.Len, bytesOf(out))
}

func (g *guest) lookup(name string) uint64 {
	g.t.Helper()
	var out fuse.EntryOut
	g.must("LOOKUP "+name, ask(g, opLookup, fuse.FUSE_ROOT_ID, new(fuse.InHeader), []byte(name+"\x00"), &out))
	return out.NodeId
}

func (g *guest) open(node uint64, flags uint32) uint64 {
	g.t.Helper()
	var out fuse.OpenOut
	g.must("OPEN", ask(g, opOpen, node, &fuse.OpenIn{Flags: flags}, nil, &out))
	return out.Fh
}

// transfer sends a request with scattered pages for its data or that of the answer, in an
// indirect table, like the kernel.
func transfer[In any](g *guest, op uint32, node uint64, in *In, pages int, writable bool, fixed uint32) vhosttest.Used {
	g.t.Helper()
	g.unique++
	head := (*fuse.InHeader)(unsafe.Pointer(in))
	head.Opcode, head.NodeId, head.Unique = op, node, g.unique
	n := copy(g.f.Mem[slotsAt:], bytesOf(in))
	descs := []vhosttest.Desc{{Addr: vhosttest.GuestBase + slotsAt, Len: uint32(n)}}
	answer := vhosttest.Desc{Addr: vhosttest.GuestBase + slotsAt + answerAt, Len: fixed, Flags: vhosttest.Write}
	var data []vhosttest.Desc
	for i := range pages {
		d := vhosttest.Desc{Addr: uint64(vhosttest.GuestBase + pageAt(i)), Len: 4096}
		if writable {
			d.Flags = vhosttest.Write
		}
		data = append(data, d)
	}
	if writable {
		descs = append(append(descs, answer), data...)
	} else {
		descs = append(append(descs, data...), answer)
	}
	table := slotsAt + slotSize
	for i, d := range descs {
		if i < len(descs)-1 {
			d.Flags |= vhosttest.Next
			d.Next = uint16(i + 1)
		}
		g.f.PutDesc(table+16*i, d)
	}
	g.queue.Put(0, vhosttest.Desc{
		Addr: uint64(vhosttest.GuestBase + table), Len: uint32(16 * len(descs)), Flags: vhosttest.Indirect,
	})
	g.queue.Offer(0)
	return g.queue.Wait()
}

// pageAt scatters pages: no two consecutive pages are adjacent.
func pageAt(i int) int { return pagesAt + (i*2%512+i/256)*4096 }
