//go:build linux

package sshd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/agent/oom"
)

// process is the leader of a session's process group.
type process struct {
	mu       sync.Mutex
	cmd      *exec.Cmd // nil before the start and after the end
	awaited  bool      // it will be started
	hungUp   bool      // it must not be started any more
	deferred []syscall.Signal
}

// await makes the process get the signals that come before its start.
func (p *process) await() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaited = true
}

func (p *process) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hungUp {
		return errHangedUp
	}
	if err := oom.Start(cmd); err != nil {
		return err
	}
	p.cmd, p.awaited = cmd, false
	for _, sig := range p.deferred {
		p.send(sig)
	}
	return nil
}

// detach starts a command that outlives the session and gets no signals of it.
func (p *process) detach(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hungUp {
		return errHangedUp
	}
	p.awaited = false
	if err := oom.Start(cmd); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // reaps it
	return nil
}

// wait returns how the process ended; it must have been started.
func (p *process) wait() syscall.WaitStatus {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	_ = cmd.Wait()
	p.mu.Lock()
	p.cmd = nil
	p.mu.Unlock()
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// hangUp sends a running process the signals of a terminal that hangs up, which it may ignore, and
// prevents the start of one that does not run yet.
func (p *process) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hungUp = true
	if p.cmd != nil {
		p.send(unix.SIGHUP)
		p.send(unix.SIGCONT)
	}
}

// signal sends sig to the process group, and to the group that a terminal session
// has in its foreground. It reports whether a process got it, or will get it at its start.
func (p *process) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case sig == 0:
		return false
	case p.cmd != nil:
		return p.send(sig)
	case p.awaited && !slices.Contains(p.deferred, sig): // as the kernel, which keeps one of each
		p.deferred = append(p.deferred, sig)
	}
	return p.awaited
}

// send is signal for a process that runs.
func (p *process) send(sig syscall.Signal) bool {
	group := p.cmd.Process.Pid
	if front := foreground(p.cmd); front != 0 && front != group {
		_ = unix.Kill(-front, sig)
		if sig != unix.SIGHUP && sig != unix.SIGCONT {
			return true // a client does not mean to interrupt the interactive shell
		}
	}
	return unix.Kill(-group, sig) == nil
}

// foreground returns the foreground process group of the session's terminal, or 0.
func foreground(cmd *exec.Cmd) int {
	if !cmd.SysProcAttr.Setctty {
		return 0
	}
	return foregroundOf(cmd.Process.Pid)
}

// drainGrace is how long an output is read after the program's end. What the program itself
// wrote is in the pipe by then; the time is for the tail of a pipeline that it did not wait
// for. Children in the background must not keep the session open.
const drainGrace = 250 * time.Millisecond

// output copies what a process writes to its client.
type output struct {
	src    *os.File
	dst    io.Writer
	mu     sync.Mutex
	exited bool
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (o *output) copy() {
	defer o.src.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		last := o.arm()
		n, err := o.src.Read(*buf)
		if n > 0 {
			if _, err := o.dst.Write((*buf)[:n]); err != nil {
				return
			}
		}
		if err != nil && (last || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return
		}
	}
}

// arm sets the deadline of the next read, if any, and reports whether it has one.
func (o *output) arm() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.exited {
		_ = o.src.SetReadDeadline(time.Now().Add(drainGrace))
	}
	return o.exited
}

// processExited wakes a blocked read, which then continues under the grace period.
func (o *output) processExited() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.exited = true
	_ = o.src.SetReadDeadline(time.Unix(1, 0))
}
