package portmux_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest/portmux"
)

// pair connects a host's end with a guest's end that listens on ports.
func pair(t *testing.T, ports ...uint32) (*portmux.Dialer, []net.Listener, *portmux.Mux) {
	t.Helper()
	a, b := net.Pipe()
	d, err := portmux.NewDialer(a)
	if err != nil {
		t.Fatal(err)
	}
	m, err := portmux.NewMux(b)
	if err != nil {
		t.Fatal(err)
	}
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
	d, err := portmux.NewDialer(a)
	if err != nil {
		t.Fatal(err)
	}
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
