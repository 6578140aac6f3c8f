//go:build linux

package vhostuser

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxRegions is the specification's limit of regions in SET_MEM_TABLE.
const maxRegions = 8

// region is a contiguous part of guest memory.
type region struct {
	guest   uint64 // guest physical address
	user    uint64 // address in the front-end's process, which ring addresses use
	data    []byte
	mapping []byte // what to unmap; data is its tail
}

// memory is the guest's memory of one memory table. It stays mapped until the session and
// every request that points into it have released it.
type memory struct {
	regions []region
	refs    atomic.Int64
}

// mapMemory maps the table in payload. The caller keeps ownership of the descriptors.
func mapMemory(payload []byte, fds []int) (*memory, error) {
	const head, entry = 8, 32
	if len(payload) < head {
		return nil, fmt.Errorf("memory table of %d bytes is too short", len(payload))
	}
	n := int(binary.LittleEndian.Uint32(payload))
	if n > maxRegions || len(payload) != head+n*entry || len(fds) != n {
		return nil, fmt.Errorf("memory table of %d regions has %d bytes and %d descriptors", n, len(payload), len(fds))
	}
	m := &memory{}
	m.refs.Store(1)
	for i := range n {
		e := payload[head+i*entry:]
		r := region{guest: binary.LittleEndian.Uint64(e), user: binary.LittleEndian.Uint64(e[16:])}
		err := r.mapFile(fds[i], binary.LittleEndian.Uint64(e[8:]), binary.LittleEndian.Uint64(e[24:]))
		if err != nil {
			m.release()
			return nil, fmt.Errorf("map guest memory at %#x: %w", r.guest, err)
		}
		m.regions = append(m.regions, r)
	}
	return m, nil
}

func (r *region) mapFile(fd int, size, offset uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	end := offset + size
	// Access to pages beyond the file's end would raise SIGBUS.
	if size == 0 || end < size || end > uint64(max(st.Size, 0)) || end > math.MaxInt {
		return fmt.Errorf("%d bytes at offset %d exceed a file of %d bytes", size, offset, st.Size)
	}
	if r.guest+size < r.guest || r.user+size < r.user {
		return fmt.Errorf("a size of %d bytes overflows", size)
	}
	// Map from the file's start, because offset need not be a multiple of the page size.
	mapping, err := unix.Mmap(fd, 0, int(end), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	r.mapping, r.data = mapping, mapping[offset:]
	return nil
}

func (m *memory) retain() { m.refs.Add(1) }

func (m *memory) release() {
	if m.refs.Add(-1) > 0 {
		return
	}
	for _, r := range m.regions {
		if r.mapping != nil {
			_ = unix.Munmap(r.mapping)
		}
	}
}

// appendGuest appends the n bytes at guest address addr to iov, in one slice for each region.
func (m *memory) appendGuest(iov [][]byte, addr, n uint64) ([][]byte, error) {
	for n > 0 {
		r := m.find(addr)
		if r == nil {
			return iov, fmt.Errorf("guest address %#x is outside of all memory regions", addr)
		}
		piece := r.data[addr-r.guest:]
		if uint64(len(piece)) > n {
			piece = piece[:n:n]
		}
		iov = append(iov, piece)
		addr += uint64(len(piece))
		n -= uint64(len(piece))
	}
	return iov, nil
}

func (m *memory) find(addr uint64) *region {
	for i := range m.regions {
		if r := &m.regions[i]; addr >= r.guest && addr-r.guest < uint64(len(r.data)) {
			return r
		}
	}
	return nil
}

// user returns the n bytes at an address of the front-end's process.
func (m *memory) user(addr, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if addr >= r.user && addr-r.user < uint64(len(r.data)) && n <= uint64(len(r.data))-(addr-r.user) {
			off := addr - r.user
			return r.data[off : off+n : off+n], nil
		}
	}
	return nil, fmt.Errorf("%d bytes at front-end address %#x are outside of all memory regions", n, addr)
}
