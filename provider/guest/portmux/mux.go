package portmux

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/hashicorp/yamux"
)

// Mux is the guest's end.
type Mux struct {
	wire wire
	done chan struct{} // closed by Close

	mu    sync.Mutex
	ended bool
	ports map[uint32]*listener
}

// NewMux returns the guest's end on conn and takes ownership of it.
func NewMux(conn Conn) *Mux {
	return &Mux{wire: wire{conn: conn}, done: make(chan struct{}), ports: map[uint32]*listener{}}
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

// Serve greets the host and passes streams to the listeners until the session ends. It then
// closes the connection.
func (m *Mux) Serve() error {
	defer m.Close()
	n := newNonce()
	if err := m.wire.greet(n); err != nil {
		return err
	}
	for heard := (nonce{}); heard != n; {
		var err error
		if heard, err = m.wire.awaitGreeting(); err != nil {
			return err
		}
	}
	session, err := yamux.Server(m.wire.newLeg(), config())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		s, err := session.AcceptStream()
		if err != nil {
			return err
		}
		go m.route(stream{s})
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
	case <-m.done:
		s.Close()
	}
}

// Close ends every stream and the underlying connection.
func (m *Mux) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil
	}
	m.ended = true
	close(m.done)
	return m.wire.conn.Close()
}

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
	case <-l.mux.done:
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
