package main

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// signalRecorder is a session that records signals.
type signalRecorder chan ssh.Signal

func (h signalRecorder) Signal(sig ssh.Signal) error { h <- sig; return nil }

func raise(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

func TestSignalWaitsForTheCommandToStart(t *testing.T) {
	h := make(signalRecorder, 4)
	r := relaySignals(func() { t.Error("hung up") })
	close(r.opened)
	raise(t, syscall.SIGUSR1)
	r.started <- h
	if got := <-h; got != ssh.SIGUSR1 {
		t.Errorf("got %s", got)
	}
	raise(t, syscall.SIGTERM)
	if got := <-h; got != ssh.SIGTERM {
		t.Errorf("got %s", got)
	}
	if sig := r.end(); sig != 0 {
		t.Errorf("hung up on %s", sig)
	}
}

func TestSignalEndsACommandThatDoesNotStart(t *testing.T) {
	up := make(chan struct{})
	begun := time.Now()
	r := relaySignals(func() { close(up) })
	close(r.opened)
	raise(t, syscall.SIGTERM)
	<-up
	if sig := r.end(); sig != syscall.SIGTERM {
		t.Errorf("hung up on %v", sig)
	}
	if d := time.Since(begun); d < startPatience {
		t.Errorf("hung up after %s", d)
	}
}

func TestSignalEndsTheWaitForAnAnswer(t *testing.T) {
	for sig := range signalNames {
		up := make(chan struct{})
		r := relaySignals(func() { close(up) })
		raise(t, sig.(syscall.Signal))
		<-up
		if got := r.end(); got != sig {
			t.Errorf("hung up on %v, want %v", got, sig)
		}
	}
}

func TestSecondInterruptHangsUp(t *testing.T) {
	h := make(signalRecorder, 4)
	var ups atomic.Int32
	r := relaySignals(func() { ups.Add(1) })
	close(r.opened)
	r.started <- h
	for range 2 {
		raise(t, syscall.SIGINT)
		<-h
	}
	if sig := r.end(); sig != syscall.SIGINT || ups.Load() != 1 {
		t.Errorf("hung up %d times, on %v", ups.Load(), sig)
	}
}

// stuckSession is a session whose supervisor takes no bytes.
type stuckSession struct{}

func (stuckSession) Signal(ssh.Signal) error { select {} }

func TestSecondInterruptHangsUpOnASupervisorThatTakesNoBytes(t *testing.T) {
	up := make(chan struct{})
	r := relaySignals(func() { close(up) })
	close(r.opened)
	r.started <- stuckSession{}
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGTERM)
	raise(t, syscall.SIGINT)
	select {
	case <-up:
	case <-time.After(time.Minute):
		t.Fatal("the relay still waits for the supervisor")
	}
	if sig := r.end(); sig != syscall.SIGINT && sig != syscall.SIGTERM {
		t.Errorf("hung up on %v", sig)
	}
}

func TestSecondInterruptHangsUpBeforeTheCommandStarts(t *testing.T) {
	up := make(chan struct{})
	r := relaySignals(func() { close(up) })
	close(r.opened)
	raise(t, syscall.SIGTERM)
	raise(t, syscall.SIGINT)
	<-up
	if sig := r.end(); sig != syscall.SIGINT && sig != syscall.SIGTERM {
		t.Errorf("hung up on %v", sig)
	}
}
