//go:build linux

package vsocktest

import (
	"net"
	"sync"
)

// conn is one connection. The caller gets the other end of a pipe, so that deadlines work.
type conn struct {
	device        *Device
	local, remote uint32 // ports
	pipe          net.Conn
	established   chan struct{} // closed when the guest has accepted
	gone          chan struct{} // closed when the connection has ended

	// The following is guarded by the device's mutex. Counters wrap around.
	changed    *sync.Cond
	inbox      []byte // data of the guest that was not read yet
	read       uint32 // bytes of the guest that were read
	told       uint32 // the last value of read that was sent to the guest
	sent       uint32 // bytes sent to the guest
	peerWindow uint32 // how many of them the guest can buffer unread
	peerRead   uint32 // how many of them the guest has read
}

func newConn(d *Device, local, remote uint32) (*conn, net.Conn) {
	ours, theirs := net.Pipe()
	c := &conn{
		device: d, local: local, remote: remote, pipe: theirs,
		established: make(chan struct{}), gone: make(chan struct{}), changed: sync.NewCond(&d.mu),
	}
	go c.upstream()
	go c.downstream()
	return c, ours
}

func (c *conn) ended() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// upstream sends what the caller writes, until the caller closes its end.
func (c *conn) upstream() {
	buf := make([]byte, maxData)
	for {
		n, err := c.pipe.Read(buf)
		if err != nil {
			c.device.mu.Lock()
			if !c.ended() {
				c.device.send(c, opShutdown, shutdownBoth, nil)
			}
			c.device.mu.Unlock()
			return
		}
		if !c.write(buf[:n]) {
			return
		}
	}
}

// write sends data when the guest has room. It returns false if the connection has ended.
func (c *conn) write(data []byte) bool {
	c.device.mu.Lock()
	defer c.device.mu.Unlock()
	for len(data) > 0 {
		room := c.peerWindow - (c.sent - c.peerRead)
		if c.ended() {
			return false
		}
		if room == 0 {
			c.changed.Wait()
			continue
		}
		n := min(uint32(len(data)), room)
		c.sent += n
		c.device.send(c, opRW, 0, data[:n])
		data = data[n:]
	}
	return true
}

// downstream passes everything that the guest sends to the caller.
func (c *conn) downstream() {
	defer c.pipe.Close()
	for {
		data := c.take()
		if len(data) == 0 {
			return
		}
		if _, err := c.pipe.Write(data); err != nil {
			return
		}
		c.device.mu.Lock()
		c.read += uint32(len(data))
		if c.read-c.told >= window/2 && !c.ended() {
			c.device.send(c, opCreditUpdate, 0, nil)
		}
		c.device.mu.Unlock()
	}
}

// take waits for data. It returns nil if the connection has ended.
func (c *conn) take() []byte {
	c.device.mu.Lock()
	defer c.device.mu.Unlock()
	for len(c.inbox) == 0 && !c.ended() {
		c.changed.Wait()
	}
	data := c.inbox
	c.inbox = nil
	return data
}
