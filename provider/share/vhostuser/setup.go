//go:build linux

package vhostuser

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The methods here change a ring's set-up. Some need the caller to halt the loop first.

// setMemory needs a halted loop. Requests in flight keep the old memory.
func (r *ring) setMemory(m *memory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mem = m
	r.desc, r.avail, r.used = nil, nil, nil
	if m != nil {
		// A request may be answered before the loop resumes. resume returns the same errors.
		_ = r.locate()
	}
}

func (r *ring) setSize(n uint32) error {
	if n == 0 || n > maxQueueSize || n&(n-1) != 0 {
		return fmt.Errorf("ring %d: a size of %d is not a power of two up to %d", r.index, n, maxQueueSize)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.num = uint16(n)
	return nil
}

func (r *ring) setAddr(a ringAddr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr = a
}

func (r *ring) setBase(next uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nextAvail = uint16(next)
	r.broken = false
}

// setKick takes ownership of fd. The loop must be halted.
func (r *ring) setKick(fd int) error {
	r.closeKick()
	// The flag is shared with QEMU. QEMU opens its eventfds non-blocking, so this changes
	// nothing there, and it must never be undone.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("ring %d: kick event: %w", r.index, err)
	}
	r.kick = fd
	return nil
}

func (r *ring) closeKick() {
	_ = closeFD(r.kick)
	r.kick = -1
}

// setCall takes ownership of fd; -1 means that the guest wants no interrupts. It is called
// while requests are in flight, whenever the guest masks its interrupt.
func (r *ring) setCall(fd int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call >= 0 {
		_ = unix.Close(r.call)
	}
	r.call = fd
}

// stop ends a halted and drained ring and returns the index to continue from.
func (r *ring) stop() uint16 {
	r.closeKick()
	r.setCall(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.desc, r.avail, r.used = nil, nil, nil
	return r.nextAvail
}

func closeFD(fd int) error {
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}
