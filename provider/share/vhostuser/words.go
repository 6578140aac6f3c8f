//go:build linux

package vhostuser

import (
	"sync/atomic"
	"unsafe"
)

// The rings' indices are 16 bits wide and shared with a driver on other
// processors, and Go's atomics begin at 32 bits. So the aligned word around an
// index is used, little-endian as all hosts of KVM that we build for are. The
// word stays in the index's page, whatever the ring's alignment.

func around(b []byte, off int) (word *uint32, shift uint) {
	p := unsafe.Pointer(&b[off])
	misaligned := uintptr(p) & 3
	return (*uint32)(unsafe.Add(p, -int(misaligned))), uint(misaligned) * 8
}

// load16 reads the 16 bits at b[off:]. Nothing after it is read earlier.
func load16(b []byte, off int) uint16 {
	word, shift := around(b, off)
	return uint16(atomic.LoadUint32(word) >> shift)
}

// store16 writes the 16 bits at b[off:] and leaves their neighbours as they are.
// Everything before it is visible first, and nothing after it happens earlier.
func store16(b []byte, off int, v uint16) {
	word, shift := around(b, off)
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
