package portmux_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest/portmux"
)

// pair connects a host's end with a guest's end that listens on ports.
func pair(t *testing.T, ports ...uint32) (*portmux.Dialer, []net.Listener, *portmux.Mux) {
	t.Helper()
	a, b := net.Pipe()
	d, m := portmux.NewDialer(a), portmux.NewMux(b)
	var listeners []net.Listener
	for _, p := range ports {
		l, err := m.Listen(p)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = m.Serve() }()
	t.Cleanup(func() { d.Close(); m.Close(); <-served })
	return d, listeners, m
}

func TestParallelStreamsKeepTheirBytesApart(t *testing.T) {
	d, ls, _ := pair(t, 22, 80)
	for _, l := range ls {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
			}
		}()
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), []uint32{22, 80}[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			sent := make([]byte, 300<<10)
			_, _ = rand.Read(sent)
			go func() { _, _ = c.Write(sent) }()
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(sent, got) {
				t.Errorf("stream %d came back changed (%v)", i, err)
			}
		})
	}
	wg.Wait()
}

func TestPortWithoutListenerIsRefused(t *testing.T) {
	d, _, _ := pair(t, 22)
	if _, err := d.Dial(t.Context(), 23); !errors.Is(err, portmux.ErrRefused) {
		t.Errorf("Dial = %v, want ErrRefused", err)
	}
}

func TestClosedListenerFreesItsPort(t *testing.T) {
	d, ls, m := pair(t, 22)
	if _, err := m.Listen(22); err == nil {
		t.Error("a port in use could be opened again")
	}
	ls[0].Close()
	if _, err := ls[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close = %v", err)
	}
	if _, err := d.Dial(t.Context(), 22); !errors.Is(err, portmux.ErrRefused) {
		t.Errorf("Dial = %v, want ErrRefused", err)
	}
	if _, err := m.Listen(22); err != nil {
		t.Error(err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	tests := map[string]func(t *testing.T) *portmux.Dialer{
		"when the guest reads and never answers": func(t *testing.T) *portmux.Dialer {
			a, b := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			return dialer(t, a, b)
		},
		"when the guest does not even read": func(t *testing.T) *portmux.Dialer {
			a, b := net.Pipe()
			return dialer(t, a, b)
		},
	}
	for name, start := range tests {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			why := errors.New("the caller gave up")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
			if _, err := d.Dial(ctx, 22); !errors.Is(err, why) {
				t.Errorf("Dial = %v, want the context's cause", err)
			}
		})
	}
}

func dialer(t *testing.T, a, b net.Conn) *portmux.Dialer {
	t.Helper()
	d := portmux.NewDialer(a)
	t.Cleanup(func() { b.Close(); d.Close() })
	return d
}

func TestListenersEndWithTheConnection(t *testing.T) {
	d, ls, _ := pair(t, 22)
	d.Close()
	if _, err := ls[0].Accept(); err == nil {
		t.Error("Accept went on without a connection")
	}
	<-d.Done()
}

// port is a serial port: QEMU's end and the guest's device. Bytes that the guest has not read
// wait for the next program that opens the device.
type port struct {
	host, device net.Conn
}

func newPort(t *testing.T) port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	device, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(); device.Close() })
	return port{host, device}
}

// opened is the device as one program has opened it. Closing it leaves the device there.
type opened struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p port) open() *opened {
	_ = p.device.SetDeadline(time.Time{})
	return &opened{Conn: p.device, closed: make(chan struct{})}
}

func (o *opened) Close() error {
	o.once.Do(func() { close(o.closed); _ = o.SetDeadline(time.Unix(1, 0)) })
	return nil
}

// echo serves port 22 of a guest on the device until it is closed, and then waits for its end.
func (p port) echo(t *testing.T) (kill func()) {
	t.Helper()
	device := p.open()
	m := portmux.NewMux(device)
	l, err := m.Listen(22)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = m.Serve() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return func() { m.Close(); <-served }
}

// exchange checks that a new stream works.
func exchange(t *testing.T, d *portmux.Dialer) net.Conn {
	t.Helper()
	c, err := d.Dial(t.Context(), 22)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("ping"), 1000)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("came back: %d bytes, %v", len(got), err)
	}
	return c
}

func TestSessionsEndWithTheGuestsEndAndTheNextOneServes(t *testing.T) {
	p := newPort(t)
	d := portmux.NewDialer(p.host)
	defer d.Close()
	kill := p.echo(t)
	for range 3 {
		old := exchange(t, d)
		idle, err := d.Dial(t.Context(), 22)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := idle.Read(make([]byte, 1)); ended <- err }()
		kill()
		// What the host sends now waits for the next program, which must not take it for its own.
		_, _ = old.Write(bytes.Repeat([]byte("x"), 5000))
		kill = p.echo(t)
		if err := <-ended; err == nil {
			t.Error("a stream of the old guest's end returned data")
		}
		exchange(t, d).Close()
	}
	kill()
}

// A program that is killed may have written a part of a frame.
func TestTheNextGuestsEndIsHeardInTheMiddleOfAFrame(t *testing.T) {
	p := newPort(t)
	d := portmux.NewDialer(p.host)
	defer d.Close()
	kill := p.echo(t)
	exchange(t, d).Close()
	kill()
	_ = p.device.SetDeadline(time.Time{})
	// A header of yamux (version 0, type data, flag SYN, stream 2) that announces 1 MiB.
	if _, err := p.device.Write([]byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 16, 0, 0, 'h', 'a', 'l', 'f'}); err != nil {
		t.Fatal(err)
	}
	kill = p.echo(t)
	exchange(t, d).Close()
	kill()
}

// A guest that sends nonsense, or that a broken host's end has left, is asked to begin again.
func TestEndsGreetAgainAfterNonsense(t *testing.T) {
	p := newPort(t)
	d := portmux.NewDialer(p.host)
	defer d.Close()
	again := make(chan struct{})
	go func() {
		defer close(again)
		for range 2 { // as the agent does
			device := p.open()
			m := portmux.NewMux(device)
			_, _ = m.Listen(22)
			_ = m.Serve()
		}
	}()
	if _, err := d.Dial(t.Context(), 22+1); !errors.Is(err, portmux.ErrRefused) {
		t.Fatalf("Dial = %v, want ErrRefused", err)
	}
	if _, err := p.device.Write(bytes.Repeat([]byte("nonsense"), 100)); err != nil {
		t.Fatal(err)
	}
	// The first session ends on both sides.
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := d.Dial(ctx, 23)
		cancel()
		if errors.Is(err, portmux.ErrRefused) {
			break
		}
		if t.Context().Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the ends do not meet again: %v", err)
		}
	}
	d.Close()
	p.device.Close()
	<-again
}

func TestCloseEndsAReadThoughTheGuestIsSilent(t *testing.T) {
	p := newPort(t)
	d := portmux.NewDialer(p.host)
	defer d.Close()
	kill := p.echo(t)
	c := exchange(t, d)
	kill()
	ended := make(chan error, 1)
	go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
	c.Close()
	if err := <-ended; err == nil {
		t.Error("Read returned data")
	}
}

// stuck is a connection whose Write waits for the end of the connection once it is full.
type stuck struct {
	net.Conn
	full   atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	if s.full.Load() {
		<-s.closed
		return 0, net.ErrClosed
	}
	return s.Conn.Write(p)
}

func (s *stuck) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

func TestCloseDoesNotWaitForAGuestThatTakesNoBytes(t *testing.T) {
	p := newPort(t)
	host := &stuck{Conn: p.host, closed: make(chan struct{})}
	d := portmux.NewDialer(host)
	kill := p.echo(t)
	c := exchange(t, d)
	host.full.Store(true)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Close waits for the guest")
	}
	d.Close()
	kill()
}
