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

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// session is one command or shell in a machine, joined to this program's terminal.
type session struct {
	command string            // run by the user's shell; empty: a login shell
	env     map[string]string // for the guest, reserved names included
	tty     bool
}

// output passes on what a session writes, until that fails; then it ends the session.
type output struct {
	end func() // safe to call twice
	mu  sync.Mutex
	err error // the first failure
}

// failure is what kept output from being passed on.
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
	given := passSignals(sess, s.tty, hangUp)
	err = sess.Wait()
	if sig := given(); sig != 0 {
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
			return errors.New("the machine went away")
		}
		return err
	}
	if n := guestSignal(exit.Signal()); n != 0 {
		return exitError(128 + n)
	}
	return exitError(exit.ExitStatus())
}

// linuxSignals are those that have another number, or none, on macOS (signal(7), the
// numbers of x86 and ARM).
var linuxSignals = map[string]int{
	"BUS": 7, "USR1": 10, "USR2": 12, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20,
	"URG": 23, "IO": 29, "PWR": 30, "SYS": 31,
}

// guestSignal is the number that a signal has in a machine, 0 for a name that is none.
func guestSignal(name string) int {
	if n, ok := linuxSignals[name]; ok {
		return n
	}
	return int(unix.SignalNum("SIG" + name))
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

// passSignals sends the signals that we get to the command. A second interrupt, and the
// end of our terminal, hang up: the command or the machine may not listen. In a terminal
// in raw mode Ctrl-C is a byte like others and is no signal here. The function that it
// returns ends that, and gives the signal on which it hung up.
func passSignals(sess *ssh.Session, tty bool, hangUp func()) (end func() syscall.Signal) {
	signals := make(chan os.Signal, 4)
	for sig := range signalNames {
		if tty && sig == syscall.SIGINT {
			continue
		}
		signal.Notify(signals, sig)
	}
	var final syscall.Signal
	done := make(chan struct{})
	go func() {
		defer close(done)
		interrupts := 0
		for s := range signals {
			sig := s.(syscall.Signal)
			_ = sess.Signal(signalNames[sig])
			if sig == syscall.SIGINT || sig == syscall.SIGTERM {
				interrupts++
			}
			if sig == syscall.SIGHUP || interrupts == 2 {
				final = sig
				hangUp()
			}
		}
	}()
	return func() syscall.Signal {
		signal.Stop(signals)
		close(signals)
		<-done
		return final
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
