// Package portmux multiplexes ports like vsock's over a single byte stream, such as a
// virtio-serial port: the guest listens on a number, the host dials it.
//
// It uses yamux. Each stream begins with the port, four bytes big-endian, which the guest
// answers with one byte.
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

// Answers to the port at the head of a stream.
const (
	accepted = 0
	refused  = 1
)

// ErrRefused is returned by Dial if the guest does not listen on the port.
var ErrRefused = errors.New("connection refused by the guest")

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	// A guest may be paused, or slow on a busy host: only the caller's context decides when
	// to give up.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 5 * time.Minute
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 5 * time.Minute
	c.MaxStreamWindowSize = 1 << 20
	c.LogOutput = io.Discard
	return c
}

// Dialer is the host's end.
type Dialer struct{ session *yamux.Session }

// NewDialer starts the host's end on conn and takes ownership of it.
func NewDialer(conn io.ReadWriteCloser) (*Dialer, error) {
	s, err := yamux.Client(conn, config())
	if err != nil {
		return nil, err
	}
	return &Dialer{s}, nil
}

// Dial opens a stream to a port of the guest, or returns [ErrRefused]. It returns when ctx
// ends, even if the guest has stopped reading.
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

func (d *Dialer) dial(ctx context.Context, port uint32) (net.Conn, error) {
	stream, err := d.session.Open()
	if err != nil {
		return nil, err
	}
	// Close does not wake the reader of a yamux stream; a deadline in the past does.
	stop := context.AfterFunc(ctx, func() { _ = stream.SetReadDeadline(time.Unix(1, 0)) })
	err = dialPort(stream, port)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
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

// Close ends every stream and the underlying connection.
func (d *Dialer) Close() error { return d.session.Close() }

// Done returns a channel that is closed when the underlying connection has ended.
func (d *Dialer) Done() <-chan struct{} { return d.session.CloseChan() }

// Mux is the guest's end.
type Mux struct {
	session *yamux.Session
	mu      sync.Mutex
	ports   map[uint32]*listener
}

// NewMux starts the guest's end on conn and takes ownership of it.
func NewMux(conn io.ReadWriteCloser) (*Mux, error) {
	s, err := yamux.Server(conn, config())
	if err != nil {
		return nil, err
	}
	return &Mux{session: s, ports: map[uint32]*listener{}}, nil
}

// Listen opens a port. Open all ports before [Mux.Serve].
func (m *Mux) Listen(port uint32) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ports[port] != nil {
		return nil, fmt.Errorf("port %d is already in use", port)
	}
	l := &listener{mux: m, port: port, conns: make(chan net.Conn), closed: make(chan struct{})}
	m.ports[port] = l
	return l, nil
}

// Serve passes streams to the listeners until the connection ends.
func (m *Mux) Serve() error {
	for {
		s, err := m.session.AcceptStream()
		if err != nil {
			return err
		}
		go m.route(s)
	}
}

func (m *Mux) route(s net.Conn) {
	var head [4]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		s.Close()
		return
	}
	m.mu.Lock()
	l := m.ports[binary.BigEndian.Uint32(head[:])]
	m.mu.Unlock()
	if l == nil {
		_, _ = s.Write([]byte{refused})
		s.Close()
		return
	}
	if _, err := s.Write([]byte{accepted}); err != nil {
		s.Close()
		return
	}
	select {
	case l.conns <- s:
	case <-l.closed:
		s.Close()
	case <-m.session.CloseChan():
		s.Close()
	}
}

// Close ends every stream and the underlying connection.
func (m *Mux) Close() error { return m.session.Close() }

type listener struct {
	mux    *Mux
	port   uint32
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-l.mux.session.CloseChan():
		return nil, io.EOF
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.mux.mu.Lock()
		delete(l.mux.ports, l.port)
		l.mux.mu.Unlock()
		close(l.closed)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.port) }

type addr uint32

func (a addr) Network() string { return "portmux" }
func (a addr) String() string  { return fmt.Sprintf("port %d", uint32(a)) }
