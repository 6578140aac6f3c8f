package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/stead-vm/stead/provider/supervisor"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"
)

// session is one command or shell in a machine, joined to this program's terminal.
type session struct {
	command string            // run by the user's shell; empty: a login shell
	env     map[string]string // for the guest, reserved names included
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
	sess, err := client.NewSession()
	if err != nil {
		return err
	}
	defer sess.Close()
	if err := forwardAgent(client, sess); err != nil {
		return err
	}
	for name, value := range s.env {
		// No answer is asked for: each would cost a round trip to the guest.
		if _, err := sess.SendRequest("env", false, ssh.Marshal(struct{ Name, Value string }{name, value})); err != nil {
			return err
		}
	}
	hangUp := func() { _ = client.Close() }
	out := &output{end: hangUp}
	sess.Stdout, sess.Stderr = stream{out, a.out}, stream{out, a.err}
	if s.tty {
		restore, err := a.attachTerminal(sess)
		if err != nil {
			return err
		}
		defer restore()
	}
	stdin, err := sess.StdinPipe()
	if err != nil {
		return err
	}
	relay := relaySignals(sess, s.tty, hangUp)
	if s.command == "" {
		err = sess.Shell()
	} else {
		err = sess.Start(s.command)
	}
	if err != nil {
		if sig := relay.end(); sig != 0 {
			return exitError(128 + int(sig))
		}
		return err
	}
	close(relay.started)
	// Not waited for: reading a terminal cannot be interrupted.
	go func() {
		_, _ = io.Copy(stdin, a.in)
		_ = stdin.Close()
	}()
	err = sess.Wait()
	if sig := relay.end(); sig != 0 {
		return exitError(128 + int(sig))
	}
	if failed := out.failure(); failed != nil {
		return fmt.Errorf("write output: %w", failed)
	}
	return exitCode(err)
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

// attachTerminal gives the session a terminal like ours, in raw mode, that follows our
// size.
func (a *app) attachTerminal(sess *ssh.Session) (restore func(), err error) {
	fd := int(a.in.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		width, height = 80, 24
	}
	name := os.Getenv("TERM")
	if name == "" {
		name = "xterm-256color"
	}
	if err := sess.RequestPty(name, height, width, ssh.TerminalModes{}); err != nil {
		return nil, err
	}
	if !term.IsTerminal(fd) {
		return func() {}, nil
	}
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

// forwardAgent offers the SSH agent of SSH_AUTH_SOCK to the session.
func forwardAgent(client *ssh.Client, sess *ssh.Session) error {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil
	}
	if _, err := os.Stat(socket); err != nil {
		return nil // an agent that is gone must not fail the command
	}
	if err := agent.ForwardToRemote(client, socket); err != nil {
		return err
	}
	_, err := sess.SendRequest("auth-agent-req@openssh.com", false, nil)
	return err
}

// connect opens an SSH connection into the machine, which it boots first when it is stopped.
func (a *app) connect(ctx context.Context, name string) (*ssh.Client, string, error) {
	p, id, err := a.target(ctx, name)
	if err != nil {
		return nil, "", err
	}
	sup := p.Machines.Supervisor(id)
	// The common case needs only the sockets of a machine that runs.
	if client, err := sup.SSH(ctx); err == nil {
		if st, err := sup.Status(ctx, supervisor.WaitReady); err == nil && st.State == supervisor.StateRunning {
			return client, id, nil
		}
		client.Close()
	}
	if err := a.startOne(ctx, p, id); err != nil {
		return nil, "", err
	}
	client, err := sup.SSH(ctx)
	return client, id, err
}
