//go:build linux

package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// ErrIdle is returned by [Serve] if the peer disconnected without a message: it only tested
// whether the server listens.
var ErrIdle = errors.New("the peer disconnected without a message")

// ErrStuck is wrapped by [Serve]'s error if a request did not end after its ring had stopped.
// The request's Done may still be called.
var ErrStuck = errors.New("a request does not end; perhaps a network file system hangs")

// Device is the device of a back-end.
type Device struct {
	// Handle is called for every request. It may handle the request or pass it on. While it
	// handles one, its ring's further requests wait, but for a short time only: if it takes
	// longer, it is called for them by another goroutine. Required.
	Handle func(*Request)
	// Interrupt is called when a ring stops, before the session waits for its last requests.
	// It must make requests that wait for an external event end soon. Optional.
	Interrupt func()
	// Patience is how long a stopping ring waits for its last requests before the session
	// fails with ErrStuck. Default: 10 seconds.
	Patience time.Duration
	// Config is the device's constant configuration space, for front-ends that read it from
	// the back-end. Optional.
	Config []byte
	// MaxIn and MaxOut are the largest sizes of a request and of its answer, in bytes. A larger
	// chain is malformed. Default: DefaultMax.
	MaxIn, MaxOut int
	Log           *slog.Logger // required
}

// DefaultMax is the default of [Device.MaxIn] and [Device.MaxOut], in bytes.
const DefaultMax = 1<<20 + 4<<10

// Request is one request of the guest.
type Request struct {
	// In is the request that the driver wrote, Out is the space for the answer. Both are in
	// guest memory, which the guest may change at any time, and are valid until Done. The
	// handler must not change the slices.
	In, Out [][]byte
	// Alone reports that no other request waits in the ring and that few take long, so that it may
	// be handled at once.
	Alone bool

	ring *ring
	mem  *memory
	head uint16
}

var requests = sync.Pool{New: func() any { return new(Request) }}

// Done returns the request to the guest. written is the number of bytes written to Out, from
// its start. Call Done exactly once; q is invalid afterwards.
func (q *Request) Done(written int) {
	q.ring.buffers.Add(-int64(len(q.In) + len(q.Out)))
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

// Serve serves one front-end. It returns nil when the front-end disconnects, or ctx's error.
// It closes conn. When it returns, no request is in flight, unless the error is [ErrStuck].
func Serve(ctx context.Context, conn *net.UnixConn, d Device) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s := newSession(d)
	err := s.loop(conn)
	_ = conn.Close() // QEMU must not wait for this server
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
			return fmt.Errorf("vhost-user: answer message %d: %w", m.request, err)
		}
	}
}
