package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

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

// signalNames are the signals that are passed on to the guest (RFC 4254, 6.10).
var signalNames = map[os.Signal]ssh.Signal{
	syscall.SIGINT: ssh.SIGINT, syscall.SIGTERM: ssh.SIGTERM, syscall.SIGHUP: ssh.SIGHUP,
	syscall.SIGQUIT: ssh.SIGQUIT, syscall.SIGUSR1: ssh.SIGUSR1, syscall.SIGUSR2: ssh.SIGUSR2,
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
	sess.Stdout, sess.Stderr = a.out, a.err
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
	if s.command == "" {
		err = sess.Shell()
	} else {
		err = sess.Start(s.command)
	}
	if err != nil {
		return err
	}
	// Not waited for: reading a terminal cannot be interrupted.
	go func() {
		_, _ = io.Copy(stdin, a.in)
		_ = stdin.Close()
	}()
	defer passSignals(sess, s.tty)()
	return exitCode(sess.Wait())
}

func exitCode(err error) error {
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		var missing *ssh.ExitMissingError
		if errors.As(err, &missing) {
			return errors.New("the machine went away")
		}
		return err
	}
	for sig, name := range signalNames {
		if string(name) == exit.Signal() {
			return exitError(128 + int(sig.(syscall.Signal)))
		}
	}
	switch exit.Signal() {
	case string(ssh.SIGKILL):
		return exitError(128 + int(syscall.SIGKILL))
	case string(ssh.SIGSEGV):
		return exitError(128 + int(syscall.SIGSEGV))
	case string(ssh.SIGABRT):
		return exitError(128 + int(syscall.SIGABRT))
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

// passSignals sends the signals that we get to the command. In a terminal in raw mode
// Ctrl-C is a byte like others and is no signal here.
func passSignals(sess *ssh.Session, tty bool) (stop func()) {
	signals := make(chan os.Signal, 4)
	for sig := range signalNames {
		if tty && sig == syscall.SIGINT {
			continue
		}
		signal.Notify(signals, sig)
	}
	go func() {
		for sig := range signals {
			_ = sess.Signal(signalNames[sig])
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// forwardAgent offers the SSH agent of SSH_AUTH_SOCK to the session.
func forwardAgent(client *ssh.Client, sess *ssh.Session) error {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil
	}
	if _, err := os.Stat(socket); err != nil {
		return nil // an agent that is gone is no reason to fail
	}
	if err := agent.ForwardToRemote(client, socket); err != nil {
		return err
	}
	_, err := sess.SendRequest("auth-agent-req@openssh.com", false, nil)
	return err
}

// connect opens SSH into the machine, which it boots first when it is stopped.
func (a *app) connect(ctx context.Context, name string) (*ssh.Client, string, error) {
	p, id, err := a.target(ctx, name)
	if err != nil {
		return nil, "", err
	}
	// The common case asks nothing but the socket.
	if client, err := p.SSH(ctx, id); err == nil {
		if _, err := p.Wait(ctx, id, "ready"); err == nil {
			return client, id, nil
		}
		client.Close()
	}
	if err := a.startOne(ctx, p, id); err != nil {
		return nil, "", err
	}
	client, err := p.SSH(ctx, id)
	return client, id, err
}
