//go:build linux

package sshd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
)

// Exit statuses of a session whose program could not be started, as in a shell.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// launch starts the program of a request. The request was already answered with success, so
// errors go to stderr and the exit status.
func (s *session) launch(r *ssh.Request) {
	if !s.awaitInit() {
		return
	}
	err := s.start(r)
	if err == nil {
		return
	}
	s.tell(err.Error())
	status := exitCannotRun
	if errors.Is(err, fs.ErrNotExist) {
		status = exitNotFound
	}
	s.exit(status)
}

// awaitInit waits until programs may start. It reports false if the session has ended before.
func (s *session) awaitInit() bool {
	if s.server.opts.Hold == nil {
		return true
	}
	columns, _ := strconv.Atoi(s.directives[guest.EnvProgress])
	limit := s.server.patience
	if columns > 0 {
		limit = s.server.glance
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	for {
		select {
		case <-s.server.opts.Hold:
			return true
		case <-s.ctx.Done():
			return false
		case <-patience.C:
			if columns > 0 {
				defer s.progress("Waiting for the machine's init to accept commands ...", columns)()
			} else {
				s.tell("waiting for the machine's init to accept commands, for at most a minute after the boot")
			}
		}
	}
}

// progress shows a line on the client's terminal until clear is called.
func (s *session) progress(line string, columns int) (clear func()) {
	fmt.Fprint(s.channel.Stderr(), line[:min(len(line), columns-1)])
	return func() { fmt.Fprint(s.channel.Stderr(), "\r\x1b[K") }
}

// tell writes a line to the client's standard error. The client's terminal is in raw mode if the
// session has one.
func (s *session) tell(line string) {
	end := "\n"
	if s.terminal != nil {
		end = "\r\n"
	}
	fmt.Fprint(s.channel.Stderr(), "stead: ", line, end)
}

func (s *session) start(r *ssh.Request) error {
	id, err := s.server.identify(s.directives)
	if err != nil {
		return err
	}
	if s.agentAsked {
		if s.agent, err = listenAgent(s.conn, s.server.opts.AgentDir, id, s.agentExtra); err != nil {
			return err
		}
		s.env = append(s.env, "SSH_AUTH_SOCK="+s.agent.path)
	}
	wanted, set := s.directives[guest.EnvCwd]
	looks := s.server.looks
	cmd := &exec.Cmd{
		Env:         id.environment(s.server.opts.Env, id.runtimeDir(s.ctx, looks), s.env),
		Dir:         id.workingDir(s.ctx, looks, wanted, set),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: id.credential()},
	}
	switch r.Type {
	case "exec":
		var p struct{ Command string }
		if err := ssh.Unmarshal(r.Payload, &p); err != nil {
			return err
		}
		cmd.Path, cmd.Args = id.Shell, []string{path.Base(id.Shell), "-c", p.Command}
	case "shell":
		cmd.Path, cmd.Args = id.Shell, []string{"-" + path.Base(id.Shell)}
	case "subsystem":
		cmd.Path, cmd.Args = s.server.opts.SFTP[0], s.server.opts.SFTP
	}
	if enter := s.server.opts.Enter; enter != nil {
		if err := enter(cmd.Dir); err != nil {
			return err
		}
	}
	if err := looks.answer(s.ctx, cmd.Dir, cmd.Path); err != nil {
		return err
	}
	if _, detached := s.directives[guest.EnvDetach]; detached {
		if err := s.process.detach(cmd); err != nil {
			return s.explain(err, cmd)
		}
		s.exit(0)
		return nil
	}
	if s.terminal != nil {
		return s.startOnTerminal(cmd, id)
	}
	return s.startOnPipes(cmd)
}

func (s *session) startOnTerminal(cmd *exec.Cmd, id identity) error {
	t := s.terminal
	if os.Geteuid() == 0 {
		if err := t.tty.Chown(id.UID, -1); err != nil {
			return fmt.Errorf("change the terminal's owner to user %d: %w", id.UID, err)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.tty, t.tty, t.tty
	cmd.SysProcAttr.Setctty = true
	if err := s.process.start(cmd); err != nil {
		return s.explain(err, cmd)
	}
	t.tty.Close()
	out := &output{src: t.pty, dst: s.channel}
	go func() {
		_, _ = io.Copy(t.pty, s.channel)
	}()
	s.wait(out)
	return nil
}

func (s *session) startOnPipes(cmd *exec.Cmd) error {
	var ours, theirs [3]*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}
	defer func() { closeAll(theirs[:]) }()
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			return fmt.Errorf("create a pipe: %w", err)
		}
		ours[i], theirs[i] = r, w
	}
	ours[0], theirs[0] = theirs[0], ours[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if err := s.process.start(cmd); err != nil {
		closeAll(ours[:])
		return s.explain(err, cmd)
	}
	go func() {
		_, _ = io.Copy(ours[0], s.channel)
		ours[0].Close()
	}()
	s.wait(&output{src: ours[1], dst: s.channel}, &output{src: ours[2], dst: s.channel.Stderr()})
	return nil
}

// explain names what is missing: the error of the system call may be about the working
// directory or the program.
func (s *session) explain(err error, cmd *exec.Cmd) error {
	if _, e := s.server.looks.look(s.ctx, cmd.Dir); e != nil && !hangs(e) {
		return fmt.Errorf("working directory %s: %v; choose another one", cmd.Dir, errors.Unwrap(e)) // not wrapped: the program is not missing
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("run %s in %s: %w", cmd.Path, cmd.Dir, fs.ErrPermission)
	}
	return fmt.Errorf("run %s: %w", cmd.Path, err)
}
