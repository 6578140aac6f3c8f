package vz

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/console"
)

// standIn is an instance without the framework.
type standIn struct {
	ended    chan error
	dial     func() (net.Conn, error)
	busy     atomic.Int32 // how often stop fails
	released atomic.Bool
	wire     *serial       // of the console; may be nil
	button   chan struct{} // the power button hangs until it is closed; nil: it works
}

func newStandIn() *standIn { return &standIn{ended: make(chan error, 1)} }

func (s *standIn) wait() error                      { return <-s.ended }
func (s *standIn) connect(uint32) (net.Conn, error) { return s.dial() }

func (s *standIn) powerButton() error {
	if s.button != nil {
		<-s.button
	}
	s.end(nil)
	return nil
}

func (s *standIn) release() {
	s.released.Store(true)
	if s.wire != nil {
		s.wire.close()
	}
}

func (s *standIn) end(err error) {
	select {
	case s.ended <- err:
	default:
	}
}

func (s *standIn) stop() error {
	if s.busy.Add(-1) >= 0 {
		return errors.New("it is still starting")
	}
	s.end(nil)
	return nil
}

var hurry = pace{retry: time.Millisecond, patience: 20 * time.Millisecond, look: time.Millisecond}

// steady has a timeout so long that no second attempt begins beside the first.
var steady = pace{retry: time.Millisecond, patience: time.Hour, look: time.Millisecond}

// run watches s until the test ends.
func run(t *testing.T, s *standIn, screen *console.Console) *vm {
	t.Helper()
	return runAt(t, hurry, s, screen)
}

// nothing is the console of a guest that prints nothing.
func nothing() *console.Console {
	c := console.New(nil)
	c.Copy(context.Background(), strings.NewReader(""))
	return c
}

func runAt(t *testing.T, p pace, s *standIn, screen *console.Console) *vm {
	t.Helper()
	v := newVM(s, screen, p)
	t.Cleanup(func() {
		s.end(nil)
		<-v.Done()
	})
	return v
}

func TestExitReasons(t *testing.T) {
	internal := &InternalError{}
	tests := map[string]struct {
		end    func(*testing.T, *vm, *standIn, *serial)
		reason hypervisor.Reason
		words  string // of Exit.Err
	}{
		"power off": {
			end:    func(_ *testing.T, _ *vm, s *standIn, _ *serial) { s.end(nil) },
			reason: hypervisor.PoweredOff,
		},
		"the power button": {
			end: func(t *testing.T, v *vm, _ *standIn, _ *serial) {
				if err := v.PowerButton(t.Context()); err != nil {
					t.Error(err)
				}
			},
			reason: hypervisor.PoweredOff,
		},
		"power cut": {
			end: func(t *testing.T, v *vm, _ *standIn, _ *serial) {
				if err := v.Kill(t.Context()); err != nil {
					t.Error(err)
				}
			},
			reason: hypervisor.Killed,
		},
		"a failure of the framework": {
			end:    func(_ *testing.T, _ *vm, s *standIn, _ *serial) { s.end(internal) },
			reason: hypervisor.Crashed,
			words:  "an internal error",
		},
		"a kernel that panics and halts": {
			end: func(t *testing.T, _ *vm, _ *standIn, wire *serial) {
				text := "Kernel panic - not syncing: VFS: no root\n---[ end Kernel panic - not syncing: VFS: no root ]---\n"
				if _, err := wire.output.WriteString(text); err != nil {
					t.Error(err)
				}
			},
			reason: hypervisor.Crashed,
			words:  "the guest's kernel panicked: VFS: no root",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wire, err := newSerial()
			if err != nil {
				t.Fatal(err)
			}
			screen := console.New(nil)
			go wire.copyTo(screen)
			s := newStandIn()
			s.wire = wire
			v := run(t, s, screen)
			tt.end(t, v, s, wire)
			<-v.Done()
			exit := v.Exit()
			if exit.Reason != tt.reason {
				t.Errorf("Exit = %v (%v), want %v", exit.Reason, exit.Err, tt.reason)
			}
			if (exit.Err == nil) != (tt.words == "") || exit.Err != nil && !strings.Contains(exit.Err.Error(), tt.words) {
				t.Errorf("Exit.Err = %v, want %q", exit.Err, tt.words)
			}
			if !s.released.Load() {
				t.Error("the machine has ended but its resources were not released")
			}
			if v.PID() != 0 {
				t.Errorf("PID = %d, want our own process", v.PID())
			}
		})
	}
}

func TestKillTriesUntilTheMachineCanBeStopped(t *testing.T) {
	s := newStandIn()
	s.busy.Store(3)
	v := run(t, s, nothing())
	for range 2 {
		if err := v.Kill(t.Context()); err != nil {
			t.Errorf("Kill = %v", err)
		}
	}
	if exit := v.Exit(); exit.Reason != hypervisor.Killed {
		t.Errorf("Exit = %+v, want killed", exit)
	}
}

func TestPowerButtonThatHangsIsGivenUp(t *testing.T) {
	s := newStandIn()
	s.button = make(chan struct{})
	defer close(s.button)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := run(t, s, nothing()).PowerButton(ctx); !errors.Is(err, enough) {
		t.Errorf("PowerButton = %v, want %v", err, enough)
	}
}

func TestKillSaysWhyItTookTooLong(t *testing.T) {
	s := newStandIn()
	s.busy.Store(1 << 30)
	v := run(t, s, nothing())
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for v.refused.Load() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel(enough)
	}()
	if err := v.Kill(ctx); !errors.Is(err, enough) || !strings.Contains(err.Error(), "still starting") {
		t.Errorf("Kill = %v, want the cause and the last attempt", err)
	}
}

func TestDialWaitsUntilTheGuestListens(t *testing.T) {
	guestEnd, hostEnd := net.Pipe()
	defer guestEnd.Close()
	var attempts atomic.Int32
	s := newStandIn()
	s.dial = func() (net.Conn, error) {
		if attempts.Add(1) < 5 {
			return nil, errors.New("connection reset by peer")
		}
		return hostEnd, nil
	}
	conn, err := runAt(t, steady, s, nothing()).Dial(t.Context(), 80)
	if err != nil || conn != hostEnd {
		t.Errorf("Dial = %v, %v, want the connection", conn, err)
	}
}

// When the guest's kernel takes over the device, attempts under way are lost without an
// error.
func TestDialRetriesAfterALostAttempt(t *testing.T) {
	guestEnd, hostEnd := net.Pipe()
	lateGuestEnd, lateHostEnd := net.Pipe()
	defer guestEnd.Close()
	answer := make(chan struct{})
	var attempts atomic.Int32
	s := newStandIn()
	s.dial = func() (net.Conn, error) {
		if attempts.Add(1) == 1 {
			<-answer
			return lateHostEnd, nil
		}
		return hostEnd, nil
	}
	conn, err := run(t, s, nothing()).Dial(t.Context(), 80)
	if err != nil || conn != hostEnd {
		t.Fatalf("Dial = %v, %v, want the second attempt's connection", conn, err)
	}
	close(answer)
	if _, err := lateGuestEnd.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the late connection was left open: %v", err)
	}
}

func TestDialEndsWithItsContextOrTheMachine(t *testing.T) {
	s := newStandIn()
	s.dial = func() (net.Conn, error) { return nil, errors.New("connection reset by peer") }
	v := run(t, s, nothing())

	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(5*time.Millisecond, func() { cancel(enough) })
	if conn, err := v.Dial(ctx, 80); conn != nil || !errors.Is(err, enough) {
		t.Errorf("Dial = %v, %v, want no connection and the cause", conn, err)
	}

	time.AfterFunc(5*time.Millisecond, func() { s.end(nil) })
	if conn, err := v.Dial(t.Context(), 80); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial = %v, %v, want no connection and that all are closed", conn, err)
	}
}

func TestDialDoesNotCallAnInstanceThatHasEnded(t *testing.T) {
	s := newStandIn()
	s.dial = func() (net.Conn, error) { panic("called an instance that has ended") }
	v := run(t, s, nothing())
	s.end(nil)
	<-v.Done()
	if conn, err := v.Dial(t.Context(), 80); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial = %v, %v, want no connection and that all are closed", conn, err)
	}
}

func TestDialReturnsWhenTheMachineEnds(t *testing.T) {
	s := newStandIn()
	forgotten := make(chan struct{})
	defer close(forgotten)
	s.dial = func() (net.Conn, error) { <-forgotten; return nil, errors.New("too late") }
	v := runAt(t, steady, s, nothing())
	time.AfterFunc(5*time.Millisecond, func() { s.end(nil) })
	if conn, err := v.Dial(t.Context(), 80); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dial = %v, %v, want no connection and that all are closed", conn, err)
	}
}
