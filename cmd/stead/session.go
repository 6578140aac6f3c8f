package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/supervisor"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"
)

// session is one command or shell in a machine, joined to this program's terminal.
type session struct {
	machine string            // its name
	timeout patience          // for the machine to answer
	command string            // run by the user's shell; empty: a login shell
	env     map[string]string // for the guest, reserved names included
	agent   bool              // the command can use the user's SSH agent
	tty     bool
}

// output passes on what a session writes. When that fails it ends the session.
type output struct {
	end func() // safe to call twice
	mu  sync.Mutex
	err error // the first failure
}

// failure returns why output could not be passed on.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// stream is one of the streams of an output.
type stream struct {
	*output
	w io.Writer
}

func (s stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.mu.Lock()
		s.err = cmp.Or(s.err, err)
		s.mu.Unlock()
		s.end()
	}
	return n, err
}

// attach runs s over client and returns when it ended: nil, or an exitError with the
// command's exit code (128 and the signal's number when a signal ended it).
func (a *app) attach(client *ssh.Client, s session) error {
	hangUp := func() { _ = client.Close() }
	out := &output{end: hangUp}
	relay := relaySignals(hangUp)
	sess, err := a.start(client, s, out, relay)
	if err == nil {
		err = a.await(sess, s, relay.gaveUp)
	}
	if sig := relay.end(); sig != 0 {
		return exitError(128 + int(sig))
	}
	if failed := out.failure(); failed != nil {
		return fmt.Errorf("write output: %w", failed)
	}
	return a.explainLoss(s.machine, exitCode(err))
}

// explainLoss returns why a session failed if the machine is unreachable, else err.
func (a *app) explainLoss(id string, err error) error {
	var exit exitError
	var gaveUp *noAnswerError
	var hangs *local.UnreachableError
	if err == nil || errors.As(err, &exit) || errors.As(err, &gaveUp) || errors.As(err, &hangs) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), heardTimeout)
	defer cancel()
	if st, failed := a.provider.Machines.Supervisor(id).Status(ctx, ""); failed == nil && st.State == supervisor.StateUnreachable {
		return &local.UnreachableError{ID: id, Err: &supervisor.UnreachableError{Since: st.Heard}}
	}
	return err
}

// start starts the command of s, as soon as the machine answers.
func (a *app) start(client *ssh.Client, s session, out *output, relay *signalRelay) (_ *ssh.Session, err error) {
	var noAnswer error
	waiting := a.awaitAnswer(s.machine, s.timeout, func(err error) {
		noAnswer = err
		out.end()
	})
	defer func() {
		waiting.received()
		if err != nil {
			err = cmp.Or(noAnswer, err)
		}
	}()
	sess, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	close(relay.opened)
	if s.agent {
		if err := forwardAgent(client, sess); err != nil {
			return nil, err
		}
	}
	for name, value := range s.env {
		// No answer is asked for: each would cost a round trip to the guest.
		if _, err := sess.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, value})); err != nil {
			return nil, err
		}
	}
	sess.Stdout, sess.Stderr = stream{out, a.out.raw}, stream{out, a.err.raw}
	if s.tty {
		if err := a.requestTerminal(sess); err != nil {
			return nil, err
		}
	}
	stdin, err := sess.StdinPipe()
	if err != nil {
		return nil, err
	}
	if s.command == "" {
		err = sess.Shell()
	} else {
		err = sess.Start(s.command)
	}
	if err != nil {
		return nil, err
	}
	relay.started <- sess
	// Not waited for: reading a terminal cannot be interrupted.
	go func() {
		_, _ = io.Copy(stdin, a.in)
		_ = stdin.Close()
	}()
	return sess, nil
}

// errGaveUp reports that signals have ended a session, whose command may still run.
var errGaveUp = errors.New("gave up the session")

// await waits until the command of sess has ended, gaveUp is closed, or the supervisor hangs. A
// terminal is in raw mode meanwhile, and not before: Ctrl-C must be a signal for as long as the
// machine may not answer.
func (a *app) await(sess *ssh.Session, s session, gaveUp <-chan struct{}) error {
	raw := s.tty && isTerminal(a.in)
	if raw {
		restore, err := a.makeRaw(sess)
		if err != nil {
			return err
		}
		defer restore()
	}
	// A session also waits for the reader of standard output, which may be stuck.
	ended := make(chan error, 1)
	go func() { ended <- sess.Wait() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lost := a.watchHealth(ctx, s.machine, raw)
	select {
	case err := <-ended:
		return err
	case <-gaveUp:
		return errGaveUp
	case err := <-lost:
		return err
	}
}

func exitCode(err error) error {
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		var missing *ssh.ExitMissingError
		if errors.As(err, &missing) {
			return errors.New("lost the connection to the machine")
		}
		return err
	}
	if n := guestSignal(exit.Signal()); n != 0 {
		return exitError(128 + n)
	}
	return exitError(exit.ExitStatus())
}

// requestTerminal gives the session a terminal like ours.
func (a *app) requestTerminal(sess *ssh.Session) error {
	width, height, err := term.GetSize(int(a.in.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	name := os.Getenv("TERM")
	if name == "" {
		name = "xterm-256color"
	}
	return sess.RequestPty(name, height, width, ssh.TerminalModes{})
}

// makeRaw puts our terminal into raw mode and makes the session's follow its size.
func (a *app) makeRaw(sess *ssh.Session) (restore func(), err error) {
	fd := int(a.in.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	go func() {
		for range resized {
			if w, h, err := term.GetSize(fd); err == nil {
				_ = sess.WindowChange(h, w)
			}
		}
	}()
	return func() {
		signal.Stop(resized)
		close(resized)
		_ = term.Restore(fd, old)
	}, nil
}

// allowsAgent reports whether the user has an SSH agent that the machine's settings let its
// sessions use. Settings that cannot be read do not.
func (a *app) allowsAgent(id string) bool {
	if os.Getenv("SSH_AUTH_SOCK") == "" {
		return false
	}
	s, err := a.provider.Bundles.Bundle(id).Settings()
	if err != nil {
		a.warn(fmt.Sprintf("the session cannot use your SSH agent: %v", err))
	}
	return err == nil && !s.NoSSHAgent
}

// forwardAgent offers the SSH agent of SSH_AUTH_SOCK to the session.
func forwardAgent(client *ssh.Client, sess *ssh.Session) error {
	socket := os.Getenv("SSH_AUTH_SOCK")
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil // an agent that is gone must not fail the command
	}
	conn.Close()
	if err := agent.ForwardToRemote(client, socket); err != nil {
		return err
	}
	_, err = sess.SendRequest("auth-agent-req@openssh.com", false, nil)
	return err
}

// connect opens an SSH connection to the machine, which it boots first if it is stopped. A
// machine that runs has timeout to answer; 0 means no limit. The result left is what a session
// has of it.
func (a *app) connect(ctx context.Context, name string, timeout time.Duration) (client *ssh.Client, id string, left patience, err error) {
	left = patience{limit: timeout, left: timeout}
	p, id, err := a.target(ctx, name)
	if err != nil {
		return nil, "", left, err
	}
	sup := p.Machines.Supervisor(id)
	begin := time.Now()
	if client, err := a.dial(ctx, sup, id, left); client != nil || err != nil {
		left.left -= time.Since(begin)
		return client, id, left, err
	}
	if err := a.startOne(ctx, p, id); err != nil {
		return nil, "", left, err
	}
	client, err = sup.SSH(ctx)
	return client, id, left, err
}

// dial connects to a machine that runs, once it is ready. It returns nil if the machine does
// not run.
func (a *app) dial(ctx context.Context, sup *supervisor.Client, id string, p patience) (*ssh.Client, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	waiting := a.awaitAnswer(id, p, giveUp)
	defer waiting.received()
	// The common case needs only the sockets of a machine that runs.
	client, err := sup.SSH(ctx)
	if err == nil {
		var st supervisor.Status
		if st, err = sup.Status(ctx, supervisor.WaitReady); err == nil && st.Silent() {
			waiting.unlikely()
			st, err = sup.Status(ctx, supervisor.WaitReachable)
		}
		if err == nil && st.State == supervisor.StateRunning {
			return client, nil
		}
		client.Close()
	}
	return nil, context.Cause(ctx)
}
