package vz

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-vm/stead/provider/poll"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/console"
)

// pace holds the intervals of a running machine's checks. Tests use shorter ones.
type pace struct {
	retry    time.Duration // between attempts to reach or to stop the guest
	patience time.Duration // timeout of one attempt to reach the guest
	look     time.Duration // between checks of the console for a halted kernel
}

// instance is the framework's machine. Its methods may block without a limit and are
// called concurrently; wait is called only once.
type instance interface {
	// wait returns when the machine has stopped: nil if the guest powered off or stop was
	// called.
	wait() error
	// connect opens a stream to a port of the guest. If the guest does not listen, it may
	// fail at once or never return.
	connect(port uint32) (net.Conn, error)
	// powerButton asks the guest to shut down.
	powerButton() error
	// stop cuts the power. It fails while the machine starts or stops.
	stop() error
	// release frees the machine's resources on the host. It is called after wait.
	release()
}

// vm is one running machine of the framework.
type vm struct {
	instance instance // also keeps the framework's object from the garbage collector
	pace     pace

	cutting sync.Once
	killed  atomic.Bool
	fault   atomic.Pointer[error] // why the driver ended the machine
	refused atomic.Pointer[error] // why the last attempt to stop it failed

	done chan struct{}
	exit hypervisor.Exit // read it after done is closed
}

var _ hypervisor.VM = (*vm)(nil)

// newVM returns the VM of a started instance and watches it. Something copies to screen until
// the instance is released.
func newVM(i instance, screen *console.Console, p pace) *vm {
	v := &vm{instance: i, pace: p, done: make(chan struct{})}
	go func() {
		ended := i.wait()
		i.release()
		<-screen.Ended() // release has closed it
		v.exit = v.reason(ended)
		v.exit.Last = screen.Last(hypervisor.LastLines)
		close(v.done)
	}()
	// The framework does not notice that a kernel has halted after a panic (panic=0). The
	// machine would keep its memory, and its supervisor would wait forever.
	go screen.Watch(v.done, p.look, func(halted error) {
		v.fault.CompareAndSwap(nil, &halted)
		v.cut()
	})
	return v
}

// reason returns the Exit of a machine that has ended. A guest that restarts has not
// ended: the framework resets it without a report.
func (v *vm) reason(err error) hypervisor.Exit {
	if v.killed.Load() {
		return hypervisor.Exit{Reason: hypervisor.Killed}
	}
	if fault := v.fault.Load(); fault != nil {
		return hypervisor.Exit{Reason: hypervisor.Crashed, Err: *fault}
	}
	if err != nil {
		return hypervisor.Exit{Reason: hypervisor.Crashed, Err: err}
	}
	return hypervisor.Exit{Reason: hypervisor.PoweredOff}
}

// Dial implements [hypervisor.VM].
func (v *vm) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	var conn net.Conn
	err := poll.Loop{Every: v.pace.retry}.Until(ctx, func(ctx context.Context) (err error) {
		conn, err = v.attempt(ctx, port)
		select {
		case <-v.done:
			if err != nil {
				return poll.Final(fmt.Errorf("the machine ended: %w", net.ErrClosed))
			}
		default:
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// errNoAnswer is the error of an attempt that timed out.
var errNoAnswer = errors.New("the guest does not answer")

// attempt tries once to reach the guest, with a short timeout: the framework never
// completes an attempt that was under way when the guest's kernel took over the device.
func (v *vm) attempt(ctx context.Context, port uint32) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		// The machine may have ended before this goroutine ran. Do not call an instance whose
		// end is known; a call during the end fails or never returns.
		select {
		case <-v.done:
			results <- result{err: net.ErrClosed}
			return
		default:
		}
		conn, err := v.instance.connect(port)
		results <- result{conn, err}
	}()
	select {
	case r := <-results:
		return r.conn, r.err
	case <-v.done:
	case <-ctx.Done():
	case <-time.After(v.pace.patience):
	}
	go func() {
		if late := <-results; late.err == nil {
			late.conn.Close()
		}
	}()
	return nil, errNoAnswer
}

// PowerButton implements [hypervisor.VM].
func (v *vm) PowerButton(ctx context.Context) error {
	pressed := make(chan error, 1)
	go func() { pressed <- v.instance.powerButton() }()
	select {
	case err := <-pressed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Paused implements [hypervisor.VM]. The framework never pauses a machine by itself: on a full
// disk, it reports an error to the guest.
func (v *vm) Paused() error { return nil }

// Resume implements [hypervisor.VM].
func (v *vm) Resume(context.Context) error { return nil }

// Kill implements [hypervisor.VM].
func (v *vm) Kill(ctx context.Context) error {
	select {
	case <-v.done:
		return nil
	default:
	}
	v.killed.Store(true)
	v.cut()
	select {
	case <-v.done:
		return nil
	case <-ctx.Done():
		if refused := v.refused.Load(); refused != nil {
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), *refused)
		}
		return context.Cause(ctx)
	}
}

// cut calls stop until the machine has ended.
func (v *vm) cut() {
	v.cutting.Do(func() {
		go func() {
			for {
				if err := v.instance.stop(); err != nil {
					v.refused.Store(&err)
				}
				select {
				case <-v.done:
					return
				case <-time.After(v.pace.retry):
				}
			}
		}()
	})
}

// Done implements [hypervisor.VM].
func (v *vm) Done() <-chan struct{} { return v.done }

// Exit implements [hypervisor.VM].
func (v *vm) Exit() hypervisor.Exit { return v.exit }

// PID implements [hypervisor.VM]. The machine runs in our own process.
func (v *vm) PID() int { return 0 }
