//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/stead-vm/stead/provider/guest/portmux"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/console"
)

// vm is one running QEMU.
type vm struct {
	process *process
	monitor *monitor
	agent   *portmux.Dialer
	shares  []*shareServer
	disks   []hypervisor.Disk
	console *console.Console

	over     context.Context    // done when QEMU has ended
	finish   context.CancelFunc // of over
	killed   atomic.Bool
	paused   atomic.Pointer[error]  // why QEMU has stopped the processors
	fault    atomic.Pointer[error]  // why the driver ended the machine
	shutdown atomic.Pointer[string] // the reason of QEMU's SHUTDOWN event

	done chan struct{}
	exit hypervisor.Exit // read it after done is closed
}

var _ hypervisor.VM = (*vm)(nil)

// startVM starts the file servers, then QEMU, and returns when QEMU answers. All devices
// exist then and the processors run.
func startVM(ctx context.Context, binary string, h hardware, o Options) (_ *vm, err error) {
	v := &vm{console: console.New(h.Console), disks: h.Disks, done: make(chan struct{})}
	v.over, v.finish = context.WithCancel(context.Background())
	var inherited inheritance
	defer func() {
		inherited.close() // QEMU has its own copies
		if err != nil {
			v.abandon()
		}
	}()
	if err := v.connect(ctx, &h, &inherited, o); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, arguments(h)...)
	cmd.ExtraFiles = inherited
	if v.process, err = startProcess("QEMU", cmd, nil, o.Log); err != nil {
		return nil, err
	}
	inherited.close()
	if err := v.monitor.handshake(ctx); err != nil {
		return nil, v.startFailure(ctx, err)
	}
	o.Log.Debug("machine started", "machine", h.Name, "pid", v.PID(), "accelerator", h.accel)
	go v.watch()
	return v, nil
}

// connect creates every connection that QEMU inherits, and sets their descriptors in h.
func (v *vm) connect(ctx context.Context, h *hardware, inherited *inheritance, o Options) error {
	for i, s := range h.Shares {
		server, conn, err := startShare(ctx, o, s, shareSocket(h.RunDir, i))
		if err != nil {
			return err
		}
		v.shares = append(v.shares, server)
		h.shares = append(h.shares, inherited.add(conn))
	}
	if n := h.Network; n != nil && n.Packets != nil {
		h.packets = inherited.add(n.Packets)
	}
	printed, theirs, err := socketPair()
	if err != nil {
		return err
	}
	h.console = inherited.add(theirs)
	go func() {
		v.console.Copy(v.over, printed)
		printed.Close()
	}()
	qmp, theirs, err := socketPair()
	if err != nil {
		return err
	}
	h.monitor = inherited.add(theirs)
	v.monitor = newMonitor(qmp, v.onEvent)
	agent, theirs, err := socketPair()
	if err != nil {
		return err
	}
	h.agent = inherited.add(theirs)
	v.agent = portmux.NewDialer(agent)
	return nil
}

// startFailure prefers QEMU's own error to that of the broken connection.
func (v *vm) startFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	v.process.kill()
	if v.process.err != nil {
		err = v.process.err
	}
	return v.process.failure(err)
}

// abandon ends the processes of a failed start.
func (v *vm) abandon() {
	if v.process != nil {
		v.process.kill()
	}
	v.release(0)
}

// release frees everything but the QEMU process, which has ended. The file servers get
// the grace period to exit by themselves.
func (v *vm) release(grace time.Duration) {
	if v.agent != nil {
		v.agent.Close()
	}
	if v.monitor != nil {
		v.monitor.conn.Close()
		<-v.monitor.done
	}
	v.finish()
	stopShares(v.shares, grace)
}

func (v *vm) onEvent(e qmpEvent) {
	switch e.Name {
	case "SHUTDOWN":
		if reason := text(e.data()["reason"]); reason != "" {
			v.shutdown.CompareAndSwap(nil, &reason)
		}
	case "BLOCK_IO_ERROR":
		if data := e.data(); data["action"] == "stop" {
			full, _ := data["nospace"].(bool)
			var failed error = &hypervisor.DiskError{Path: v.diskPath(text(data["device"])), Full: full, Reason: text(data["reason"])}
			v.paused.Store(&failed)
		}
	case "STOP": // also follows BLOCK_IO_ERROR
		stopped := errors.New("the hypervisor has stopped its processors")
		v.paused.CompareAndSwap(nil, &stopped)
	case "RESUME":
		v.paused.Store(nil)
	}
}

// diskPath returns the file of a drive, whose name in QEMU is diskName.
func (v *vm) diskPath(device string) string {
	for i, d := range v.disks {
		if device == diskName(i) {
			return d.Path
		}
	}
	return device
}

// watch waits for the end of QEMU, then closes done.
func (v *vm) watch() {
	for _, s := range v.shares {
		go v.watchShare(s)
	}
	<-v.process.done
	<-v.monitor.done // its last event may say why
	v.release(shareLeave)
	<-v.console.Ended() // its last lines may say why
	v.exit = v.reason()
	v.exit.Last = v.console.Last(hypervisor.LastLines)
	close(v.done)
}

// watchShare ends a machine whose file server has ended: every access to the share would
// hang, and a hanging home is worse than a machine that has ended.
func (v *vm) watchShare(s *shareServer) {
	select {
	case <-v.process.done:
	case <-s.process.done:
		if err := s.loss(v.process.done); err != nil {
			v.fault.CompareAndSwap(nil, &err)
			v.process.kill()
		}
	}
}

// reason returns the Exit of a machine that has ended.
func (v *vm) reason() hypervisor.Exit {
	if v.killed.Load() {
		return hypervisor.Exit{Reason: hypervisor.Killed}
	}
	if fault := v.fault.Load(); fault != nil {
		return hypervisor.Exit{Reason: hypervisor.Crashed, Err: *fault}
	}
	shutdown := ""
	if s := v.shutdown.Load(); s != nil {
		shutdown = *s
	}
	switch shutdown {
	case "guest-shutdown":
		return hypervisor.Exit{Reason: hypervisor.PoweredOff}
	case "guest-reset":
		// A kernel that panics resets the machine, which QEMU reports like a reboot.
		if err := v.console.Panic(); err != nil {
			return hypervisor.Exit{Reason: hypervisor.Crashed, Err: err}
		}
		return hypervisor.Exit{Reason: hypervisor.Rebooted}
	case "host-signal":
		return hypervisor.Exit{Reason: hypervisor.Crashed, Err: errors.New("another process ended QEMU with a signal")}
	}
	err := v.process.err
	if err == nil {
		err = fmt.Errorf("it ended unexpectedly (%q)", shutdown)
	}
	return hypervisor.Exit{Reason: hypervisor.Crashed, Err: v.process.failure(err)}
}

// Dial implements [hypervisor.VM].
func (v *vm) Dial(ctx context.Context, port uint32) (net.Conn, error) { return v.agent.Dial(ctx, port) }

// PowerButton implements [hypervisor.VM].
func (v *vm) PowerButton(ctx context.Context) error {
	return v.monitor.execute(ctx, "system_powerdown")
}

// Paused implements [hypervisor.VM].
func (v *vm) Paused() error {
	if why := v.paused.Load(); why != nil {
		return *why
	}
	return nil
}

// Resume implements [hypervisor.VM].
func (v *vm) Resume(ctx context.Context) error { return v.monitor.execute(ctx, "cont") }

// Kill implements [hypervisor.VM].
func (v *vm) Kill(ctx context.Context) error {
	select {
	case <-v.done:
		return nil
	default:
	}
	v.killed.Store(true)
	_ = v.process.cmd.Process.Kill() // fails only if it has ended already
	select {
	case <-v.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done implements [hypervisor.VM].
func (v *vm) Done() <-chan struct{} { return v.done }

// Exit implements [hypervisor.VM].
func (v *vm) Exit() hypervisor.Exit { return v.exit }

// PID implements [hypervisor.VM].
func (v *vm) PID() int { return v.process.cmd.Process.Pid }
