//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/stead-vm/stead/provider/guest/portmux"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// firstInheritedFD is the number of a child's first descriptor after the standard ones.
const firstInheritedFD = 3

// vm is one running QEMU.
type vm struct {
	process *process
	monitor *monitor
	agent   *portmux.Dialer
	shares  []*shareServer
	console consoleLog

	killed   atomic.Bool
	fault    atomic.Pointer[error]  // why we ended it ourselves
	shutdown atomic.Pointer[string] // the reason of QEMU's SHUTDOWN event

	done chan struct{}
	exit hypervisor.Exit // read it after done is closed
}

var _ hypervisor.VM = (*vm)(nil)

// startVM starts the file servers, then QEMU, and returns when QEMU answers: all its
// devices exist then and its processors run.
func startVM(ctx context.Context, binary string, h hardware, o Options) (_ *vm, err error) {
	v := &vm{console: openConsoleLog(h.ConsoleLog), done: make(chan struct{})}
	var inherited []*os.File
	defer func() {
		closeFiles(inherited) // QEMU has its own copies
		if err != nil {
			v.abandon()
		}
	}()
	inherit := func(f *os.File) int {
		inherited = append(inherited, f)
		return firstInheritedFD + len(inherited) - 1
	}

	for i, s := range h.Shares {
		server, conn, err := startShare(ctx, o.ShareCommand, s, shareSocket(h.RunDir, i))
		if err != nil {
			return nil, err
		}
		v.shares = append(v.shares, server)
		h.shares = append(h.shares, inherit(conn))
	}
	qmp, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	h.monitor = inherit(theirs)
	v.monitor = newMonitor(qmp, v.onEvent)
	agent, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	h.agent = inherit(theirs)
	if v.agent, err = portmux.NewDialer(agent); err != nil {
		agent.Close()
		return nil, err
	}

	cmd := exec.Command(binary, arguments(h)...)
	cmd.ExtraFiles = inherited
	if v.process, err = startProcess("QEMU", cmd); err != nil {
		return nil, err
	}
	closeFiles(inherited)
	inherited = nil
	if err := v.monitor.handshake(ctx); err != nil {
		return nil, v.startFailure(ctx, err)
	}
	o.Log.Debug("machine started", "name", h.Name, "pid", v.PID(), "accelerator", h.accel)
	go v.watch()
	return v, nil
}

// startFailure prefers QEMU's own words to the broken connection they came with.
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

// abandon ends what a failed start has begun.
func (v *vm) abandon() {
	if v.process != nil {
		v.process.kill()
	}
	v.release(0)
}

// release gives back all but the QEMU process, which has ended. The file servers get
// some time to leave by themselves.
func (v *vm) release(grace time.Duration) {
	if v.agent != nil {
		v.agent.Close()
	}
	if v.monitor != nil {
		v.monitor.conn.Close()
		<-v.monitor.done
	}
	stopShares(v.shares, grace)
}

func (v *vm) onEvent(e qmpEvent) {
	if reason, err := shutdownReason(e); err == nil && reason != "" {
		v.shutdown.CompareAndSwap(nil, &reason)
	}
}

// watch waits for the end and tells of it.
func (v *vm) watch() {
	for _, s := range v.shares {
		go v.watchShare(s)
	}
	<-v.process.done
	<-v.monitor.done // its last event may say why
	v.release(shareLeave)
	v.exit = v.reason()
	close(v.done)
}

// watchShare ends a machine that has lost one of its file systems: every access to it
// would hang, and a home that hangs is worse than a machine that has ended.
func (v *vm) watchShare(s *shareServer) {
	select {
	case <-v.process.done:
	case <-s.process.done:
		if err := s.lost(v.process.done); err != nil {
			v.fault.CompareAndSwap(nil, &err)
			v.process.kill()
		}
	}
}

// reason makes an Exit of what is known after the end.
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
		if message := v.console.panicMessage(); message != "" {
			return hypervisor.Exit{Reason: hypervisor.Crashed, Err: &PanicError{Message: message, Log: v.console.path}}
		}
		return hypervisor.Exit{Reason: hypervisor.Rebooted}
	case "host-signal":
		return hypervisor.Exit{Reason: hypervisor.Crashed, Err: errors.New("QEMU was ended by a signal of another process")}
	}
	err := v.process.err
	if err == nil {
		err = fmt.Errorf("it ended unasked (%q)", shutdown)
	}
	return hypervisor.Exit{Reason: hypervisor.Crashed, Err: v.process.failure(err)}
}

// Dial implements [hypervisor.VM].
func (v *vm) Dial(ctx context.Context, port uint32) (net.Conn, error) { return v.agent.Dial(ctx, port) }

// PowerButton implements [hypervisor.VM].
func (v *vm) PowerButton(ctx context.Context) error {
	return v.monitor.execute(ctx, "system_powerdown")
}

// Kill implements [hypervisor.VM].
func (v *vm) Kill(ctx context.Context) error {
	select {
	case <-v.done:
		return nil
	default:
	}
	v.killed.Store(true)
	_ = v.process.cmd.Process.Kill() // fails only when it has ended already
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

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// consoleLog reads what one boot added to the log.
type consoleLog struct {
	path  string
	start int64
}

func openConsoleLog(path string) consoleLog {
	l := consoleLog{path: path}
	if info, err := os.Stat(path); err == nil {
		l.start = info.Size()
	}
	return l
}

// panicMessage returns what the guest's kernel said when it gave up, or "". A kernel
// that panics resets the machine, which looks like a reboot otherwise.
func (l consoleLog) panicMessage() string {
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	const end = 64 << 10 // a panic is the last thing that a kernel says
	text := make([]byte, min(end, max(0, info.Size()-l.start)))
	n, _ := f.ReadAt(text, info.Size()-int64(len(text)))
	_, message, found := bytes.Cut(text[:n], []byte("Kernel panic - not syncing: "))
	if !found {
		return ""
	}
	message, _, _ = bytes.Cut(message, []byte("\n"))
	return string(bytes.TrimSpace(message))
}
