//go:build linux

package sshd

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// session is one "session" channel (RFC 4254 §6). It handles requests one after the other. From the
// one that starts a program, only launch changes a session, beside them: all sessions of a
// connection stand still while one of them does not take its requests.
type session struct {
	server     *Server
	ctx        context.Context // ends with the channel
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
	launching  sync.WaitGroup
	done       sync.WaitGroup
}

func (s *Server) serveSession(conn ssh.Conn, offer ssh.NewChannel) {
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ses := &session{server: s, ctx: ctx, conn: conn, channel: channel, directives: map[string]string{}}
	for r := range requests {
		ok := ses.handle(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if ok && starts(r) {
			ses.started = true
			ses.process.await()
			ses.launching.Go(func() { ses.launch(r) })
		}
	}
	cancel()
	ses.process.hangUp()
	ses.launching.Wait()
	ses.close()
	ses.done.Wait()
}

// starts reports whether r asks for the start of a program.
func starts(r *ssh.Request) bool {
	return r.Type == "exec" || r.Type == "shell" || r.Type == "subsystem"
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
		if !s.started {
			s.agentAsked, s.agentExtra = true, r.Payload
		}
		return !s.started
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
	case guest.EnvUser, guest.EnvUID, guest.EnvGID, guest.EnvCwd, guest.EnvDetach, guest.EnvProgress:
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
