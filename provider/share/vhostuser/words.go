//go:build linux

package vhostuser

import (
	"sync/atomic"
	"unsafe"
)

// The rings' indices are 16 bits wide and shared with a driver on other processors, but Go's
// smallest atomics have 32 bits. So the functions here use the aligned word around an index.
// All supported hosts are little-endian. The word is always in the index's page, whatever the
// ring's alignment.

func around(b []byte, off int) (word *uint32, shift uint) {
	p := unsafe.Pointer(&b[off])
	misaligned := uintptr(p) & 3
	return (*uint32)(unsafe.Add(p, -int(misaligned))), uint(misaligned) * 8
}

// load16 reads the 16 bits at b[off:]. Later reads are not reordered before it.
func load16(b []byte, off int) uint16 {
	word, shift := around(b, off)
	return uint16(atomic.LoadUint32(word) >> shift)
}

// store16 writes the 16 bits at b[off:] and does not change their neighbours. Earlier writes
// are visible before it, and later operations are not reordered before it.
func store16(b []byte, off int, v uint16) {
	word, shift := around(b, off)
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(0xffff<<shift)|uint32(v)<<shift) {
			return
		}
	}
}
