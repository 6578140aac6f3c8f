//go:build linux

package vhostuser

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT

// ring is one split virtqueue. Its loop takes requests from it; the goroutine that serves a
// request puts the answer back. Only the session changes the set-up, and it halts the loop for
// that.
type ring struct {
	index   int
	dev     Device
	buffers *atomic.Int64 // of all requests in flight, on all rings
	log     *slog.Logger

	kick    int   // eventfd; -1 until the front-end sends one
	loop    *loop // nil: halted, or not set up
	enabled bool

	mu       sync.Mutex // guards what follows
	mem      *memory
	num      uint16
	addr     ringAddr
	desc     []byte // nil: the ring is not set up
	avail    []byte
	used     []byte
	eventIdx bool
	halted   bool
	broken   bool // the driver broke the rules: take no requests until a reset
	call     int  // eventfd that interrupts the guest, or -1

	nextAvail uint16 // index of the next request to take
	nextUsed  uint16
	inFlight  int
	idle      chan struct{} // closed when inFlight becomes 0; nil: no goroutine waits
}

// ringAddr holds the addresses of the ring's parts in the front-end's process.
type ringAddr struct{ desc, used, avail uint64 }

func newRing(index int, d Device, buffers *atomic.Int64) *ring {
	return &ring{index: index, dev: d, buffers: buffers, log: d.Log.With("ring", index), kick: -1, call: -1}
}

// halt ends the loop. Requests in flight continue.
func (r *ring) halt() {
	if r.loop == nil {
		return
	}
	r.mu.Lock()
	r.halted = true
	r.mu.Unlock()
	r.loop.halt()
	r.loop = nil
}

// resume starts the loop if the set-up is complete.
func (r *ring) resume() error {
	if r.loop != nil || r.kick < 0 || !r.enabled {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.locate(); err != nil {
		return err
	}
	if r.desc == nil {
		return nil
	}
	loop, err := startLoop(r)
	if err != nil {
		return err
	}
	r.halted, r.loop = false, loop
	return nil
}

// locate finds the ring's parts in the current memory.
func (r *ring) locate() error {
	r.desc, r.avail, r.used = nil, nil, nil
	if r.mem == nil || r.num == 0 || r.addr == (ringAddr{}) {
		return nil
	}
	if r.addr.desc%descSize != 0 || r.addr.avail%2 != 0 || r.addr.used%4 != 0 {
		return fmt.Errorf("ring %d is misaligned: %+x", r.index, r.addr)
	}
	n := uint64(r.num)
	desc, err := r.mem.user(r.addr.desc, n*descSize)
	if err != nil {
		return fmt.Errorf("ring %d: descriptors: %w", r.index, err)
	}
	// Both rings end with two bytes for the event index.
	avail, err := r.mem.user(r.addr.avail, ringHeadSize+n*availElemSize+2)
	if err != nil {
		return fmt.Errorf("ring %d: available ring: %w", r.index, err)
	}
	used, err := r.mem.user(r.addr.used, ringHeadSize+n*usedElemSize+2)
	if err != nil {
		return fmt.Errorf("ring %d: used ring: %w", r.index, err)
	}
	r.desc, r.avail, r.used = desc, avail, used
	r.nextUsed = load16(used, 2)
	return nil
}

// take returns the next request, or nil if there is none. After nil, the driver kicks when
// it adds a request.
func (r *ring) take() *Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.halted && !r.broken {
		waiting := load16(r.avail, 2) - r.nextAvail
		if waiting == 0 && r.eventIdx {
			store16(r.used, int(ringHeadSize+uint64(r.num)*usedElemSize), r.nextAvail)
			waiting = load16(r.avail, 2) - r.nextAvail
		}
		if waiting == 0 {
			return nil
		}
		if waiting > r.num || r.inFlight >= int(r.num) {
			r.fail("the driver offers more requests than the ring has entries")
			return nil
		}
		head := load16(r.avail, ringHeadSize+int(r.nextAvail%r.num)*availElemSize)
		r.nextAvail++
		if head >= r.num {
			r.fail("the driver offers a descriptor outside the ring")
			return nil
		}
		if q := r.request(head); q != nil {
			return q
		}
	}
	return nil
}

func (r *ring) fail(why string) {
	r.broken = true
	r.log.Warn("the guest's driver broke the rules: ignoring its ring until a reset", "reason", why)
}

// request reads the chain at head. It returns a malformed chain to the driver, with an
// empty answer.
func (r *ring) request(head uint16) *Request {
	q := requests.Get().(*Request)
	c := chain{
		mem: r.mem, in: q.In[:0], out: q.Out[:0], left: maxChain,
		leftIn: uint64(r.dev.MaxIn), leftOut: uint64(r.dev.MaxOut),
	}
	err := c.walk(r.desc, head, false)
	q.In, q.Out = c.in, c.out
	if n := int64(c.buffers()); err == nil && r.buffers.Add(n) > maxInFlight {
		r.buffers.Add(-n)
		err = errInFlight
	}
	if err != nil {
		r.log.Debug("malformed request", "err", err)
		r.push(head, 0)
		q.recycle()
		return nil
	}
	q.ring, q.mem, q.head = r, r.mem, head
	q.mem.retain()
	r.inFlight++
	return q
}

func (r *ring) complete(head uint16, written uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used != nil {
		r.push(head, written)
	}
	r.inFlight--
	if r.inFlight == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// push returns the chain at head to the driver and interrupts the driver if it asked for
// that.
func (r *ring) push(head uint16, written uint32) {
	e := r.used[ringHeadSize+int(r.nextUsed%r.num)*usedElemSize:]
	binary.LittleEndian.PutUint32(e, uint32(head))
	binary.LittleEndian.PutUint32(e[4:], written)
	r.nextUsed++
	store16(r.used, 2, r.nextUsed)
	if r.call < 0 || !r.wantsInterrupt() {
		return
	}
	// EAGAIN means that an interrupt is already pending.
	_, _ = unix.Write(r.call, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (r *ring) wantsInterrupt() bool {
	if r.eventIdx {
		return load16(r.avail, ringHeadSize+int(r.num)*availElemSize) == r.nextUsed-1
	}
	return load16(r.avail, 0)&availNoInterrupt == 0
}

// drained returns a channel that is closed when no request is in flight.
func (r *ring) drained() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inFlight == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	return r.idle
}
