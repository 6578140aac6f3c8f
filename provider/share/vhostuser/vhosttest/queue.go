//go:build linux

package vhosttest

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptor flags.
const (
	Next     = 1
	Write    = 2
	Indirect = 4
)

// Desc is a descriptor in the guest's memory.
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// Queue is the driver's side of a ring.
type Queue struct {
	f          *Frontend
	Index      uint32
	Size       uint16
	desc       int // offsets in guest memory
	avail      int
	used       int
	eventIdx   bool
	kick, call int
	next, seen uint16 // next available and next used index
}

// Used is an entry of the used ring.
type Used struct{ Head, Len uint32 }

// RingBytes returns the space of a ring with size entries, rounded up to pages.
func RingBytes(size int) int { return (size*26 + 32 + 4095) &^ 4095 }

// Queue sets up a ring at offset at of the memory. It does not start it.
func (f *Frontend) Queue(index uint32, size uint16, at int, eventIdx bool) *Queue {
	f.TB.Helper()
	q := &Queue{f: f, Index: index, Size: size, eventIdx: eventIdx}
	n := int(size)
	q.desc, q.avail, q.used = at, at+16*n, (at+16*n+2*n+6+3)&^3
	q.kick, q.call = f.event(), f.event()
	return q
}

func (f *Frontend) event() int {
	f.TB.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		f.TB.Fatal(err)
	}
	f.TB.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// Addr returns the payload of SET_VRING_ADDR.
func (q *Queue) Addr() []byte {
	b := State(q.Index, 0)
	for _, off := range []int{q.desc, q.used, q.avail} {
		b = binary.LittleEndian.AppendUint64(b, uint64(UserBase+off))
	}
	return binary.LittleEndian.AppendUint64(b, 0)
}

// Start starts the ring at index base, with messages in the same order as QEMU's.
func (q *Queue) Start(base uint16) {
	q.f.TB.Helper()
	q.next = base
	q.f.Send(SetVringNum, State(q.Index, uint32(q.Size)))
	q.f.Send(SetVringBase, State(q.Index, uint32(base)))
	q.f.Send(SetVringAddr, q.Addr())
	q.f.Send(SetVringKick, Word(uint64(q.Index)), q.kick)
	q.f.Send(SetVringCall, Word(uint64(q.Index)), q.call)
	if got := q.f.Acked(SetVringEnable, State(q.Index, 1)); got != 0 {
		q.f.TB.Fatalf("the back-end does not start ring %d", q.Index)
	}
}

// Stop stops the ring and returns the index at which the back-end stopped.
func (q *Queue) Stop() uint16 {
	q.f.TB.Helper()
	q.f.Send(SetVringEnable, State(q.Index, 0))
	answer := q.f.Ask(GetVringBase, State(q.Index, 0))
	if got := binary.LittleEndian.Uint32(answer); got != q.Index {
		q.f.TB.Fatalf("GET_VRING_BASE for ring %d answered for ring %d", q.Index, got)
	}
	return uint16(binary.LittleEndian.Uint32(answer[4:]))
}

// Put writes a descriptor into the ring's table.
func (q *Queue) Put(i uint16, d Desc) { q.f.PutDesc(q.desc+16*int(i), d) }

// PutDesc writes a descriptor at an offset of the memory.
func (f *Frontend) PutDesc(off int, d Desc) {
	b := f.Mem[off : off+16]
	binary.LittleEndian.PutUint64(b, d.Addr)
	binary.LittleEndian.PutUint32(b[8:], d.Len)
	binary.LittleEndian.PutUint16(b[12:], d.Flags)
	binary.LittleEndian.PutUint16(b[14:], d.Next)
}

// Offer makes the chain at head available and kicks if the device asks for it.
func (q *Queue) Offer(head uint16) {
	q.f.TB.Helper()
	q.f.store16(q.avail+4+2*int(q.next%q.Size), head)
	old := q.next
	q.next++
	q.f.store16(q.avail+2, q.next)
	if q.eventIdx && q.f.load16(q.used+4+8*int(q.Size)) != old {
		return
	}
	q.Kick()
}

// OfferIndex pretends that requests up to index next are available.
func (q *Queue) OfferIndex(next uint16) {
	q.f.store16(q.avail+2, next)
	q.Kick()
}

// Kick notifies the device.
func (q *Queue) Kick() {
	q.f.TB.Helper()
	if _, err := unix.Write(q.kick, Word(1)); err != nil {
		q.f.TB.Fatal(err)
	}
}

// Answered returns the next answer, if any.
func (q *Queue) Answered() (Used, bool) {
	if q.f.load16(q.used+2) == q.seen {
		return Used{}, false
	}
	e := q.f.Mem[q.used+4+8*int(q.seen%q.Size):]
	q.seen++
	return Used{binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint32(e[4:])}, true
}

// Wait waits for an answer like a driver: it asks for an interrupt.
func (q *Queue) Wait() Used {
	q.f.TB.Helper()
	deadline := time.Now().Add(patience)
	for {
		if q.eventIdx {
			q.f.store16(q.avail+4+2*int(q.Size), q.seen)
		}
		if u, ok := q.Answered(); ok {
			return u
		}
		if time.Now().After(deadline) {
			q.f.TB.Fatalf("no answer on ring %d", q.Index)
		}
		poll := []unix.PollFd{{Fd: int32(q.call), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(patience/time.Millisecond)); n == 1 && err == nil {
			_, _ = unix.Read(q.call, make([]byte, 8))
		}
	}
}

// KickFD returns the kick event.
func (q *Queue) KickFD() int { return q.kick }

// KickIsNonBlocking reports whether the kick event, which both sides share, is non-blocking.
func (q *Queue) KickIsNonBlocking() bool {
	q.f.TB.Helper()
	flags, err := unix.FcntlInt(uintptr(q.kick), unix.F_GETFL, 0)
	if err != nil {
		q.f.TB.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}
