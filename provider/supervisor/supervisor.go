// Package supervisor implements the process that owns one running machine.
//
// The supervisor outlives the command that starts the machine, owns the hypervisor and
// serves the machine's API. Each machine has its own supervisor instead of one daemon for
// all: nothing has to be installed, and a failure affects one machine only. If the
// supervisor dies, its machine dies with it.
package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/space"
)

// Sockets in the run directory: the API (HTTP with JSON) and SSH into the machine.
const (
	apiSocket = "api.sock"
	sshSocket = "ssh.sock"
)

const (
	// readyTimeout bounds a boot. It is long because an emulated machine on a busy host
	// is slow, and the user can interrupt a boot at any time.
	readyTimeout = 5 * time.Minute
	// startTimeout bounds the start of the hypervisor, which may test its accelerator first.
	startTimeout = 3 * time.Minute
	// servicesTimeout bounds enabling and starting the declared services.
	servicesTimeout = 5 * time.Minute
)

// Boot is one start of the machine.
type Boot struct {
	Config    hypervisor.Config
	HostKey   ssh.PublicKey // of the agent
	ClientKey ssh.Signer    // of the supervisor
	Services  []string
}

// Options for Run.
type Options struct {
	RunDir  string // required: existing directory for the sockets
	Driver  hypervisor.Driver
	Prepare func(context.Context) (Boot, error) // called before each boot, including reboots by the guest
	Ready   func()                              // called once, when the first boot is ready
	Settled func(services []string)             // called with the services that did not fail, after each attempt
	Console io.Writer                           // takes what the guest prints, over all boots; default: discard
	Log     *slog.Logger                        // default: discard
}

// Run boots the machine and returns when it has ended: nil after an orderly end, or an
// error if it did not become ready or crashed, an [EndError] if the guest ended by itself. If
// the guest reboots, Run boots the machine again, unless the guest only resets. If ctx ends,
// Run stops the machine gracefully.
func Run(ctx context.Context, o Options) error {
	s := newSupervisor(o)
	api, err := listen(filepath.Join(o.RunDir, apiSocket))
	if err != nil {
		return err
	}
	sshd, err := listen(filepath.Join(o.RunDir, sshSocket))
	if err != nil {
		return errors.Join(err, api.Close())
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	var g errgroup.Group
	g.Go(func() error { return ignoreClosed(server.Serve(api)) })
	g.Go(func() error { return ignoreClosed(s.proxy.serve(sshd)) })
	err = s.run(ctx)
	s.update(func(st *Status) { st.State = StateStopped })
	// Answer requests that wait for the stop before closing the sockets.
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(err, ignoreClosed(server.Shutdown(closing)), ignoreClosed(sshd.Close()), s.proxy.close(), g.Wait())
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

type supervisor struct {
	opts      Options
	log       *slog.Logger
	proxy     proxy
	clock     clock
	look      time.Duration // see pauseLook
	readyTime time.Duration // see readyTimeout
	free      func(dir string) (int64, error)
	resets    resets

	beatTime time.Duration // for the guest to answer one
	missed   int           // beats in a row without an answer; used by keepClock only

	services sync.Mutex // held while a list of services is applied
	want     []string   // the last such list

	mu      sync.Mutex
	status  Status
	changed chan struct{} // closed and replaced at each change of status
	boot    Boot
	vm      hypervisor.VM // nil before the first start
	client  *guest.Client
	stopped chan struct{} // closed, under mu, when the machine is to stop
	paused  time.Time     // when the machine was last seen to be paused
}

func newSupervisor(o Options) *supervisor {
	s := &supervisor{opts: o, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), changed: make(chan struct{}), stopped: make(chan struct{})}
	s.readyTime = readyTimeout
	s.clock, s.beatTime, s.look, s.free, s.resets = hostClock(), beatInterval, pauseLook, space.Free, resets{pause: firstPause}
	s.proxy = proxy{dial: s.dialSSH, lost: make(chan struct{}, 1), patience: 5 * time.Second}
	return s
}

// run boots the machine until it ends for a reason other than a reboot.
func (s *supervisor) run(ctx context.Context) error {
	for {
		exit, err := s.bootOnce(ctx)
		if err != nil && (s.isStopping() || ctx.Err() != nil) {
			return nil // it did not come to a boot
		}
		if err != nil {
			return err
		}
		s.log.Info("machine ended", "reason", exit.Reason, "err", exit.Err)
		if exit.Reason != hypervisor.Rebooted || s.isStopping() || ctx.Err() != nil {
			if exit.Err == nil {
				return nil
			}
			return &EndError{exit.Err, exit.Last}
		}
		if err := s.beforeReboot(ctx, exit); err != nil {
			return err
		}
	}
}

// beforeReboot waits before the next boot of a guest that has reset itself. It returns an
// error if the guest does nothing else.
func (s *supervisor) beforeReboot(ctx context.Context, exit hypervisor.Exit) error {
	pause, again := s.resets.add(s.snapshot().Ready, time.Now())
	if !again {
		return s.resets.err(exit.Last)
	}
	s.update(func(st *Status) {
		*st = Status{State: StateBooting, PID: st.PID, Started: time.Now(), Reboots: st.Reboots + 1}
		if pause > 0 {
			st.Problem = fmt.Sprintf("the guest reset %d times in a row; it boots again in %v", s.resets.count, pause)
		}
	})
	if pause > 0 {
		s.log.Warn("the guest reset too early; waiting before the next boot", "duration", pause)
	}
	select {
	case <-time.After(pause):
	case <-s.stopped:
	case <-ctx.Done():
	}
	return nil
}

// bootOnce boots the machine and returns when it has ended.
func (s *supervisor) bootOnce(ctx context.Context) (hypervisor.Exit, error) {
	s.update(func(st *Status) {
		*st = Status{State: StateBooting, PID: os.Getpid(), Started: time.Now(), Reboots: st.Reboots}
	})
	boot, vm, err := s.startVM(ctx)
	if err != nil {
		return hypervisor.Exit{}, err
	}
	client := guest.NewClient(vm.Dial)
	s.mu.Lock()
	s.boot, s.vm, s.client = boot, vm, client
	stopping := s.isStopping()
	s.mu.Unlock()
	if stopping { // stop was called before the machine started
		if err := vm.Kill(context.WithoutCancel(ctx)); err != nil {
			return hypervisor.Exit{}, err
		}
	}
	s.update(func(st *Status) { st.VMPID = vm.PID() })

	alive, gone := context.WithCancel(ctx)
	defer gone()
	defer context.AfterFunc(ctx, func() { s.stop(context.WithoutCancel(ctx), Stop{}) })()
	go func() {
		<-vm.Done()
		gone()
	}()
	var pauses sync.WaitGroup
	pauses.Go(func() { s.watchPause(alive, vm) })
	tendErr := s.tend(alive, client, boot)
	if tendErr != nil && alive.Err() == nil {
		_ = vm.Kill(context.WithoutCancel(ctx))
		<-vm.Done()
		pauses.Wait()
		return hypervisor.Exit{}, &EndError{tendErr, vm.Exit().Last}
	}
	<-vm.Done()
	pauses.Wait()
	s.mu.Lock()
	s.vm = nil
	s.mu.Unlock()
	client.Close()
	s.proxy.reset()
	exit := vm.Exit()
	if tendErr != nil && exit.Err == nil && exit.Reason != hypervisor.Rebooted && !s.isStopping() {
		exit.Err = fmt.Errorf("the machine %s before it was ready", exit.Reason)
	}
	return exit, nil
}

// startVM prepares a boot and starts its machine, unless that takes too long or the machine is to
// stop.
func (s *supervisor) startVM(ctx context.Context) (Boot, hypervisor.VM, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the machine did not start within %v", startTimeout))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() {
		select {
		case <-s.stopped:
			giveUp(errStopped)
		case <-ctx.Done():
		}
	}()
	type result struct {
		boot Boot
		vm   hypervisor.VM
		err  error
	}
	started := make(chan result, 1)
	go func() {
		boot, err := s.opts.Prepare(ctx) // reads files of the home, whose file system may hang
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			started <- result{err: err}
			return
		}
		boot.Config.Console = s.opts.Console
		vm, err := s.opts.Driver.Start(ctx, boot.Config) // not every driver can be interrupted
		started <- result{boot, vm, err}
	}()
	select {
	case r := <-started:
		return r.boot, r.vm, r.err
	case <-ctx.Done():
		go func() { // until this process ends, and the machine with it
			if r := <-started; r.err == nil {
				_ = r.vm.Kill(context.Background())
			}
		}()
		return Boot{}, nil, context.Cause(ctx)
	}
}

// errStopped ends the start of a machine that is to stop.
var errStopped = errors.New("the machine was stopped before it had started")

func (s *supervisor) isStopping() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// dialSSH opens an SSH connection to the agent.
func (s *supervisor) dialSSH(ctx context.Context) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	s.mu.Lock()
	vm, boot := s.vm, s.boot
	s.mu.Unlock()
	if vm == nil {
		return nil, nil, nil, errors.New("the machine has not started yet")
	}
	ctx, stop := s.whileReachable(ctx)
	defer stop()
	return guest.DialSSH(ctx, vm.Dial, boot.ClientKey, boot.HostKey)
}
