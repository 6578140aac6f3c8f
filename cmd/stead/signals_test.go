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
	r := relaySignals(h, false, func() { t.Error("hung up") })
	raise(t, syscall.SIGUSR1)
	close(r.started)
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
	h := make(signalRecorder, 4)
	up := make(chan struct{})
	begun := time.Now()
	r := relaySignals(h, false, func() { close(up) })
	raise(t, syscall.SIGTERM)
	<-up
	if sig := r.end(); sig != syscall.SIGTERM || len(h) > 0 {
		t.Errorf("hung up on %v, %d signals passed on", sig, len(h))
	}
	if d := time.Since(begun); d < startPatience {
		t.Errorf("hung up after %s", d)
	}
}

func TestSecondInterruptHangsUp(t *testing.T) {
	h := make(signalRecorder, 4)
	var ups atomic.Int32
	r := relaySignals(h, false, func() { ups.Add(1) })
	close(r.started)
	for range 2 {
		raise(t, syscall.SIGINT)
		<-h
	}
	if sig := r.end(); sig != syscall.SIGINT || ups.Load() != 1 {
		t.Errorf("hung up %d times, on %v", ups.Load(), sig)
	}
}
