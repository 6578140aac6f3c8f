package portmux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Dialer is the host's end. It survives that the guest's end is replaced.
type Dialer struct {
	wire wire
	done chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	session *yamux.Session // nil: the guest's end has not greeted
	changed chan struct{}  // closed and replaced when session changes
}

// NewDialer starts the host's end on conn and takes ownership of it.
func NewDialer(conn Conn) *Dialer {
	d := &Dialer{wire: wire{conn: conn}, done: make(chan struct{}), changed: make(chan struct{})}
	go d.run()
	return d
}

// run runs one session after the other until the connection ends.
func (d *Dialer) run() {
	defer close(d.done)
	for {
		n, err := d.wire.awaitGreeting()
		if err == nil {
			err = d.wire.greet(n)
		}
		if err != nil {
			return
		}
		leg := d.wire.newLeg()
		session, err := yamux.Client(leg, config())
		if err != nil {
			return // only a wrong config is an error
		}
		d.use(session)
		<-session.CloseChan()
		d.use(nil)
		leg.Close()
		if !d.wire.isGreeted() && d.wire.greet(nonce{}) != nil {
			return
		}
	}
}

// use makes session the current one.
func (d *Dialer) use(session *yamux.Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = session
	close(d.changed)
	d.changed = make(chan struct{})
}

// current returns the session, which it waits for.
func (d *Dialer) current(ctx context.Context) (*yamux.Session, error) {
	for {
		d.mu.Lock()
		session, changed := d.session, d.changed
		d.mu.Unlock()
		if session != nil {
			return session, nil
		}
		select {
		case <-changed:
		case <-d.done:
			return nil, io.ErrClosedPipe
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Dial opens a stream to a port of the guest, or returns [ErrRefused]. It waits for the guest's
// end, and returns when ctx ends, even if the guest has stopped reading.
func (d *Dialer) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	// Open and Write take no context: both wait for space in the connection, forever if the
	// guest hangs.
	done := make(chan result)
	go func() {
		c, err := d.dial(ctx, port)
		select {
		case done <- result{c, err}:
		case <-ctx.Done():
			if c != nil {
				c.Close()
			}
		}
	}()
	var err error
	select {
	case r := <-done:
		if r.err == nil {
			return r.conn, nil
		}
		err = r.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("port %d of the guest: %w", port, err)
}

// dial tries again if the guest's end is replaced meanwhile.
func (d *Dialer) dial(ctx context.Context, port uint32) (net.Conn, error) {
	for {
		session, err := d.current(ctx)
		if err != nil {
			return nil, err
		}
		c, err := dialOver(ctx, session, port)
		if err == nil || errors.Is(err, ErrRefused) || ctx.Err() != nil || !session.IsClosed() {
			return c, err
		}
		d.forget(session)
	}
}

func dialOver(ctx context.Context, session *yamux.Session, port uint32) (net.Conn, error) {
	opened, err := session.OpenStream()
	if err != nil {
		return nil, err
	}
	c := stream{opened}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	err = dialPort(c, port)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func dialPort(c net.Conn, port uint32) error {
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], port)
	if _, err := c.Write(head[:]); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	if answer[0] != accepted {
		return ErrRefused
	}
	return nil
}

// forget makes callers wait for the next session.
func (d *Dialer) forget(session *yamux.Session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == session {
		d.session = nil
	}
}

// Close ends every stream and the underlying connection.
func (d *Dialer) Close() error {
	err := d.wire.conn.Close()
	d.mu.Lock()
	session := d.session
	d.mu.Unlock()
	if session != nil {
		session.Close()
	}
	<-d.done
	return err
}

// Done returns a channel that is closed when the underlying connection has ended.
func (d *Dialer) Done() <-chan struct{} { return d.done }
