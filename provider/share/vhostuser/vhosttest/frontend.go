//go:build linux

// Package vhosttest provides a front-end for tests of package vhostuser, with guest memory and a
// driver that fills the rings. It needs neither QEMU nor a kernel. A test may put invalid
// data into a ring.
package vhosttest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Messages of the vhost-user protocol that tests send by hand.
const (
	GetFeatures         = 1
	SetFeatures         = 2
	SetOwner            = 3
	SetMemTable         = 5
	SetVringNum         = 8
	SetVringAddr        = 9
	SetVringBase        = 10
	GetVringBase        = 11
	SetVringKick        = 12
	SetVringCall        = 13
	GetProtocolFeatures = 15
	SetProtocolFeatures = 16
	GetQueueNum         = 17
	SetVringEnable      = 18
	GetConfig           = 24
)

// Feature bits that a test may choose.
const (
	FeatIndirect = 1 << 28
	FeatEventIdx = 1 << 29
	FeatProtocol = 1 << 30
	FeatVersion1 = 1 << 32
)

// GuestBase is the guest physical address of the memory. UserBase is the address at which the
// front-end claims to have mapped it. The two are easy to distinguish.
const (
	GuestBase = 0x1_0000_0000
	UserBase  = 0x7f00_0000_0000
)

// patience bounds every wait, generously.
const patience = 30 * time.Second

// Frontend is a virtual machine monitor with one device.
type Frontend struct {
	TB   testing.TB
	Conn *net.UnixConn
	Mem  []byte // the guest's memory
	memo int    // its descriptor
}

// Dial connects to a back-end. The memory has size bytes, a multiple of the page size.
func Dial(tb testing.TB, socket string, size int) *Frontend {
	tb.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	return New(tb, conn, size)
}

// New is Dial with an existing connection.
func New(tb testing.TB, conn *net.UnixConn, size int) *Frontend {
	tb.Helper()
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		tb.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Frontend{TB: tb, Conn: conn, Mem: mem, memo: fd}
	tb.Cleanup(func() {
		_ = conn.Close()
		_ = unix.Munmap(mem)
		_ = unix.Close(fd)
	})
	return f
}

// Start negotiates features and sends the memory.
func (f *Frontend) Start(features uint64) {
	f.TB.Helper()
	if offered := f.AskWord(GetFeatures); features&^offered != 0 {
		f.TB.Fatalf("the back-end offers features %#x, the test needs %#x", offered, features)
	}
	f.Send(SetOwner, nil)
	f.Send(SetProtocolFeatures, Word(f.AskWord(GetProtocolFeatures)))
	f.Send(SetFeatures, Word(features))
	f.SendMemory()
}

// SendMemory sends the memory table.
func (f *Frontend) SendMemory() {
	f.TB.Helper()
	f.Send(SetMemTable, MemTable(Region{GuestBase, uint64(len(f.Mem)), UserBase, 0}), f.memo)
}

// Region is an entry of a memory table.
type Region struct{ Guest, Size, User, Offset uint64 }

// MemTable returns the payload of SET_MEM_TABLE.
func MemTable(regions ...Region) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(regions)))
	for _, r := range regions {
		for _, v := range []uint64{r.Guest, r.Size, r.User, r.Offset} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

// Word returns a 64-bit payload.
func Word(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// State returns a payload of a ring's index and a number.
func State(index, num uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, index), num)
}

// Send sends a message that has no answer.
func (f *Frontend) Send(request uint32, payload []byte, fds ...int) {
	f.TB.Helper()
	f.send(request, 1, payload, fds)
}

// Acked sends a message and returns its acknowledgement, 0 for success.
func (f *Frontend) Acked(request uint32, payload []byte, fds ...int) uint64 {
	f.TB.Helper()
	f.send(request, 1|8, payload, fds)
	return binary.LittleEndian.Uint64(f.receive(request))
}

// Ask sends a message and returns the payload of its answer.
func (f *Frontend) Ask(request uint32, payload []byte) []byte {
	f.TB.Helper()
	f.send(request, 1, payload, nil)
	return f.receive(request)
}

// AskWord is Ask for a number.
func (f *Frontend) AskWord(request uint32) uint64 {
	f.TB.Helper()
	return binary.LittleEndian.Uint64(f.Ask(request, nil))
}

func (f *Frontend) send(request, flags uint32, payload []byte, fds []int) {
	f.TB.Helper()
	b := State(request, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := f.Conn.WriteMsgUnix(append(b, payload...), oob, nil); err != nil {
		f.TB.Fatalf("sending message %d: %v", request, err)
	}
}

func (f *Frontend) receive(request uint32) []byte {
	f.TB.Helper()
	_ = f.Conn.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, 12)
	if _, err := io.ReadFull(f.Conn, head); err != nil {
		f.TB.Fatalf("waiting for the answer to message %d: %v", request, err)
	}
	payload := make([]byte, binary.LittleEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(f.Conn, payload); err != nil {
		f.TB.Fatal(err)
	}
	got, flags := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
	if got != request || flags != 5 {
		f.TB.Fatalf("answer to message %d with flags %#x, want message %d with flags 0x5", got, flags, request)
	}
	return payload
}

// atomic32 returns the aligned word of guest memory at off.
func (f *Frontend) atomic32(off int) *uint32 {
	if off%4 != 0 {
		panic(fmt.Sprintf("offset %#x is not aligned", off))
	}
	return (*uint32)(unsafe.Pointer(&f.Mem[off]))
}

func (f *Frontend) load16(off int) uint16 {
	return uint16(atomic.LoadUint32(f.atomic32(off&^3)) >> (off & 3 * 8))
}

func (f *Frontend) store16(off int, v uint16) {
	word, shift := f.atomic32(off&^3), off&3*8
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
