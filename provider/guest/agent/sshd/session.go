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
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// Exit statuses of a session whose program could not be started, as in a shell.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

// session is one "session" channel (RFC 4254 §6). It handles requests one after the other.
// Only process is used by more than one goroutine.
type session struct {
	server     *Server
	conn       ssh.Conn
	channel    ssh.Channel
	env        []string
	directives map[string]string
	terminal   *terminal
	agent      *agentSocket
	agentAsked bool
	agentExtra []byte
	started    bool
	process    process
	done       sync.WaitGroup
}

func (s *Server) serveSession(conn ssh.Conn, offer ssh.NewChannel) {
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	ses := &session{server: s, conn: conn, channel: channel, directives: map[string]string{}}
	for r := range requests {
		ok := ses.handle(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if ok {
			ses.launch(r)
		}
	}
	// The client is gone: send running programs the signals of a terminal that hangs up. They
	// may ignore them.
	ses.process.signal(unix.SIGHUP)
	ses.process.signal(unix.SIGCONT)
	ses.close()
	ses.done.Wait()
}

func (s *session) handle(r *ssh.Request) bool {
	switch r.Type {
	case "env":
		return s.setEnv(r.Payload)
	case "pty-req":
		return s.setTerminal(r.Payload)
	case "window-change":
		return s.terminal != nil && s.terminal.resize(r.Payload)
	case "auth-agent-req@openssh.com":
		s.agentAsked, s.agentExtra = !s.started, r.Payload
		return s.agentAsked
	case "signal":
		var p struct{ Name string }
		return ssh.Unmarshal(r.Payload, &p) == nil && s.process.signal(unix.SignalNum("SIG"+p.Name))
	case "exec", "shell":
		return !s.started
	case "subsystem":
		var p struct{ Name string }
		return !s.started && ssh.Unmarshal(r.Payload, &p) == nil && p.Name == "sftp" && len(s.server.opts.SFTP) > 0
	default:
		return false
	}
}

func (s *session) setEnv(payload []byte) bool {
	var p struct{ Name, Value string }
	if s.started || ssh.Unmarshal(payload, &p) != nil || p.Name == "" || strings.ContainsAny(p.Name+p.Value, "\x00") {
		return false
	}
	switch p.Name {
	case guest.EnvUser, guest.EnvUID, guest.EnvGID, guest.EnvCwd:
		s.directives[p.Name] = p.Value
	default:
		s.env = append(s.env, p.Name+"="+p.Value)
	}
	return true
}

func (s *session) setTerminal(payload []byte) bool {
	if s.started || s.terminal != nil {
		return false
	}
	t, err := openTerminal(payload)
	if err != nil {
		s.server.opts.Log.Warn("cannot open a terminal for a session", "err", err)
		return false
	}
	s.terminal = t
	s.env = append(s.env, "TERM="+t.name)
	return true
}

// launch starts the program of a request. The request was already answered with success, so
// errors go to stderr and the exit status.
func (s *session) launch(r *ssh.Request) {
	if r.Type != "exec" && r.Type != "shell" && r.Type != "subsystem" {
		return
	}
	s.started = true
	if hold := s.server.opts.Hold; hold != nil {
		<-hold
	}
	err := s.start(r)
	if err == nil {
		return
	}
	fmt.Fprintf(s.channel.Stderr(), "stead: %v\n", err)
	status := exitCannotRun
	if errors.Is(err, fs.ErrNotExist) {
		status = exitNotFound
	}
	s.exit(status)
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
	cmd := &exec.Cmd{
		Env:         id.environment(s.server.opts.Env, s.env),
		Dir:         id.workingDir(wanted, set),
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
		return explain(err, cmd)
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
		return explain(err, cmd)
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
func explain(err error, cmd *exec.Cmd) error {
	if _, e := os.Stat(cmd.Dir); e != nil {
		return fmt.Errorf("working directory %s: %v; choose another one", cmd.Dir, errors.Unwrap(e)) // not wrapped: the program is not missing
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("run %s in %s: %w", cmd.Path, cmd.Dir, fs.ErrPermission)
	}
	return fmt.Errorf("run %s: %w", cmd.Path, err)
}

// wait sends the exit status after the process has ended and all of its output was sent.
func (s *session) wait(outputs ...*output) {
	var copies sync.WaitGroup
	for _, o := range outputs {
		copies.Go(o.copy)
	}
	s.done.Go(func() {
		status := s.process.wait()
		for _, o := range outputs {
			o.processExited()
		}
		copies.Wait()
		if s.agent != nil {
			s.agent.close()
		}
		if name := unix.SignalName(status.Signal()); status.Signaled() && name != "" {
			s.exitSignal(strings.TrimPrefix(name, "SIG"), status.CoreDump())
			return
		}
		if status.Signaled() {
			s.exit(128 + int(status.Signal()))
			return
		}
		s.exit(status.ExitStatus())
	})
}

func (s *session) exit(status int) {
	_ = s.channel.CloseWrite()
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	_ = s.channel.Close()
}

func (s *session) exitSignal(name string, core bool) {
	_ = s.channel.CloseWrite()
	_, _ = s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name              string
		Core              bool
		Message, Language string
	}{Name: name, Core: core}))
	_ = s.channel.Close()
}

// close frees the session's resources other than the process.
func (s *session) close() {
	if s.terminal != nil {
		s.terminal.close()
	}
	if s.agent != nil {
		s.agent.close()
	}
}
