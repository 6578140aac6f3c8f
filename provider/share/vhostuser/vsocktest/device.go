//go:build linux

// Package vsocktest implements the host's end of a vsock device, for tests of servers in a guest.
//
// Hypervisors that offer vsock do not run in CI, and the kernel's own host end needs a
// device that most hosts do not let ordinary users open. So this package implements
// virtio-vsock (virtio 1.2 section 5.10) for the guest's driver, as a back-end of QEMU's
// vhost-user-vsock-pci. Only the host can dial; it refuses connections from the guest.
package vsocktest

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/share/vhostuser"
)

// Device is a vsock device of one guest. Its methods are safe for concurrent use.
type Device struct {
	cid uint64

	mu    sync.Mutex
	room  []*vhostuser.Request // the guest's empty buffers, oldest first
	queue []packet             // packets that wait for room
	conns map[uint32]*conn     // by our port
	port  uint32               // the last one assigned
}

// Start serves a device with the context ID cid to the QEMU that connects to socket, until
// the test ends.
func Start(tb testing.TB, socket string, cid uint64) *Device {
	tb.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	d := &Device{cid: cid, conns: map[uint32]*conn{}, port: 1 << 20}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.AcceptUnix()
		if err != nil {
			return // the test has ended without a guest
		}
		err = vhostuser.Serve(ctx, conn, vhostuser.Device{
			Handle: d.handle, Interrupt: d.giveBack, Log: slog.New(slog.DiscardHandler),
			Config: binary.LittleEndian.AppendUint64(nil, cid),
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			tb.Errorf("vsock device: %v", err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		l.Close()
		d.Reset()
		wg.Wait()
	})
	return d
}

// dialRetry is the pause before dialling again a port on which the guest does not listen.
const dialRetry = 20 * time.Millisecond

// Dial opens a stream to a port of the guest. It blocks until the guest listens or ctx ends.
func (d *Device) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	for {
		c, ours := d.request(port)
		select {
		case <-c.established:
			return ours, nil
		case <-c.gone:
		case <-ctx.Done():
		}
		d.drop(c)
		select {
		case <-time.After(dialRetry):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// request asks the guest for a connection.
func (d *Device) request(port uint32) (*conn, net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.port++
	c, ours := newConn(d, d.port, port)
	d.conns[d.port] = c
	d.send(c, opRequest, 0, nil)
	return c, ours
}

func (d *Device) drop(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.send(c, opRST, 0, nil)
	d.forget(c)
}

// Reset breaks every connection, like a host that has lost its ends.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		d.send(c, opRST, 0, nil)
		d.forget(c)
	}
}

// forget ends a connection on the host's side. The caller holds d.mu.
func (d *Device) forget(c *conn) {
	if d.conns[c.local] == c {
		delete(d.conns, c.local)
		close(c.gone)
	}
	c.changed.Broadcast()
}

// send queues a packet. The caller holds d.mu.
func (d *Device) send(c *conn, op uint16, flags uint32, data []byte) {
	c.told = c.read
	h := header{
		SrcCID: hostCID, DstCID: d.cid, SrcPort: c.local, DstPort: c.remote,
		Type: typeStream, Op: op, Flags: flags, BufAlloc: window, FwdCnt: c.read,
	}
	d.queue = append(d.queue, packet{h, slices.Clone(data)})
	d.fill()
}

// fill passes queued packets to the guest. The caller holds d.mu.
func (d *Device) fill() {
	for len(d.queue) > 0 && len(d.room) > 0 {
		q, size := d.room[0], 0
		d.room = d.room[1:]
		for _, out := range q.Out {
			size += len(out)
		}
		if size < headerSize {
			q.Done(0) // too small
			continue
		}
		b, rest := d.queue[0].pieces(size)
		if d.queue[0].data = rest; len(rest) == 0 {
			d.queue = d.queue[1:]
		}
		n := 0
		for _, out := range q.Out {
			n += copy(out, b[n:])
		}
		q.Done(n)
	}
}

// handle receives a packet from the guest (a request with In) or an empty buffer (a request
// with Out).
func (d *Device) handle(q *vhostuser.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(q.In) == 0 {
		d.room = append(d.room, q)
		d.fill()
		return
	}
	sent := slices.Concat(q.In...)
	q.Done(0)
	if h, data, ok := parse(sent); ok {
		d.receive(h, data)
	}
}

// giveBack returns all empty buffers to a guest that stops the device.
func (d *Device) giveBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.room {
		q.Done(0)
	}
	d.room = nil
}

// receive handles one packet of the guest. The caller holds d.mu.
func (d *Device) receive(h header, data []byte) {
	c := d.conns[h.DstPort]
	if c == nil || c.remote != h.SrcPort {
		if h.Op != opRST {
			d.send(&conn{local: h.DstPort, remote: h.SrcPort}, opRST, 0, nil)
		}
		return
	}
	c.peerWindow, c.peerRead = h.BufAlloc, h.FwdCnt
	switch h.Op {
	case opResponse:
		close(c.established)
	case opRW:
		c.inbox = append(c.inbox, data...)
	case opCreditRequest:
		d.send(c, opCreditUpdate, 0, nil)
	case opShutdown:
		d.send(c, opRST, 0, nil)
		d.forget(c)
	case opRST:
		d.forget(c)
	}
	c.changed.Broadcast()
}
