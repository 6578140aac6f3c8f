//go:build linux

package vhostuser

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Descriptors, virtio 1.2 section 2.7.5.
const (
	descSize      = 16
	descNext      = 1
	descWrite     = 2
	descIndirect  = 4
	maxChain      = 1024 // descriptors and buffers of one request, with those of its indirect table
	maxQueueSize  = 1024
	usedElemSize  = 8
	ringHeadSize  = 4 // flags and idx, in the available and the used ring
	availElemSize = 2
)

var (
	// errChainLoop reports a chain that is too long or endless.
	errChainLoop = errors.New("the descriptor chain is longer than allowed")
	// errChainSize reports a chain with more bytes than the device's largest request.
	errChainSize = errors.New("the descriptor chain has more bytes than allowed")
	// errInFlight reports a chain for which the unfinished requests leave no room.
	errInFlight = errors.New("the unfinished requests have more buffers than allowed")
)

// chain collects the buffers of one request.
type chain struct {
	mem  *memory
	in   [][]byte // written by the driver, read by the device
	out  [][]byte // to be written by the device
	left int      // descriptors still allowed

	// Bytes still allowed. Descriptors may overlap, so that without this limit a request could
	// be far larger than the guest's memory.
	leftIn, leftOut uint64
}

// walk follows the descriptors in table from head. The guest may change its memory meanwhile,
// so walk reads every field once.
func (c *chain) walk(table []byte, head uint16, nested bool) error {
	for i := uint64(head); ; {
		if c.left == 0 {
			return errChainLoop
		}
		c.left--
		if (i+1)*descSize > uint64(len(table)) {
			return fmt.Errorf("descriptor %d is outside its table", i)
		}
		d := table[i*descSize:]
		addr := binary.LittleEndian.Uint64(d)
		size := binary.LittleEndian.Uint32(d[8:])
		flags := binary.LittleEndian.Uint16(d[12:])
		next := binary.LittleEndian.Uint16(d[14:])
		if flags&descIndirect != 0 {
			if nested || flags&descNext != 0 {
				return errors.New("an indirect descriptor is nested or has a successor")
			}
			return c.indirect(addr, size)
		}
		if err := c.add(addr, size, flags&descWrite != 0); err != nil {
			return err
		}
		if flags&descNext == 0 {
			return nil
		}
		i = uint64(next)
	}
}

func (c *chain) indirect(addr uint64, size uint32) error {
	if size == 0 || size%descSize != 0 || size > maxChain*descSize {
		return fmt.Errorf("an indirect table must not have %d bytes", size)
	}
	pieces, err := c.mem.appendGuest(nil, addr, uint64(size))
	if err != nil {
		return err
	}
	table := pieces[0]
	for _, p := range pieces[1:] {
		table = append(table[:len(table):len(table)], p...)
	}
	return c.walk(table, 0, true)
}

func (c *chain) add(addr uint64, size uint32, writable bool) (err error) {
	buffers, left := &c.in, &c.leftIn
	if writable {
		buffers, left = &c.out, &c.leftOut
	} else if len(c.out) > 0 {
		return errors.New("a readable descriptor follows a writable one")
	}
	if uint64(size) > *left {
		return errChainSize
	}
	*left -= uint64(size)
	if *buffers, err = c.mem.appendGuest(*buffers, addr, uint64(size)); err != nil {
		return err
	}
	// A buffer that crosses regions has several pieces.
	if c.buffers() > maxChain {
		return errChainLoop
	}
	return nil
}

func (c *chain) buffers() int { return len(c.in) + len(c.out) }
