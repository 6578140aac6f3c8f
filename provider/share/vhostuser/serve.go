//go:build linux

package vhostuser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// ErrIdle is returned by [Serve] when the peer left without a message: somebody
// tried whether the socket answers.
var ErrIdle = errors.New("the peer left without a message")

// ErrStuck is in [Serve]'s error when a request did not end although its ring
// stopped. Its Done may still be called.
var ErrStuck = errors.New("a request does not end; a network file system may hang")

// Device is what a front-end drives.
type Device struct {
	// Handle gets every request, in the order the driver made them, and must not
	// block: it passes the request on to whoever serves it. Required.
	Handle func(*Request)
	// Interrupt is called when a ring stops, before its last requests are waited
	// for. Requests that wait for something outside must end soon. Optional.
	Interrupt func()
	// Patience is how long a stopping ring waits for its last requests before the
	// session fails with ErrStuck. Default: 10 seconds.
	Patience time.Duration
	// Config is the device's configuration space, whose front-end asks for it: some
	// keep that themselves. It does not change. Optional.
	Config []byte
	Log    *slog.Logger // required
}

// Request is one request of the guest.
type Request struct {
	// In is what the driver wrote, Out is room for the answer. Both lie in guest
	// memory, which the guest may change at any time, and are valid until Done.
	In, Out [][]byte

	ring *ring
	mem  *memory
	head uint16
}

var requests = sync.Pool{New: func() any { return new(Request) }}

// Done returns the request to the guest with the number of bytes written to Out,
// counted from its start. It is called exactly once; q is invalid afterwards.
func (q *Request) Done(written int) {
	q.ring.complete(q.head, uint32(written))
	q.mem.release()
	q.recycle()
}

func (q *Request) recycle() {
	clear(q.In)
	clear(q.Out)
	*q = Request{In: q.In[:0], Out: q.Out[:0]}
	requests.Put(q)
}

// Serve answers one front-end until it leaves, which is no error, or ctx ends,
// which is ctx's error. It closes conn. When it returns, no request is in
// flight, unless the error is [ErrStuck].
func Serve(ctx context.Context, conn *net.UnixConn, d Device) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	d.Patience = cmp.Or(d.Patience, 10*time.Second)
	s := &session{dev: d}
	for i := range s.rings {
		s.rings[i] = newRing(i, d.Handle, d.Log)
	}
	err := s.loop(conn)
	_ = conn.Close() // QEMU shall not wait for us
	if errors.Is(err, ErrStuck) {
		s.dev.Patience = 0
	}
	err = errors.Join(err, s.close())
	if ctx.Err() == nil {
		return err
	}
	if errors.Is(err, ErrStuck) {
		return errors.Join(context.Cause(ctx), ErrStuck)
	}
	return context.Cause(ctx)
}

func (s *session) loop(conn *net.UnixConn) error {
	for first := true; ; first = false {
		m, err := readMessage(socket{conn})
		if errors.Is(err, io.EOF) {
			if first {
				return ErrIdle
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("vhost-user: %w", err)
		}
		answer, err := s.dispatch(&m)
		m.close()
		if err != nil {
			return fmt.Errorf("vhost-user: %w", err)
		}
		if answer == nil {
			continue
		}
		if _, err := conn.Write(reply(m.request, answer)); err != nil {
			return fmt.Errorf("vhost-user: answering message %d: %w", m.request, err)
		}
	}
}
