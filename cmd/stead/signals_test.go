package main

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// signalRecorder is a session that tells what signals came.
type signalRecorder chan ssh.Signal

func (h signalRecorder) Signal(sig ssh.Signal) error { h <- sig; return nil }

func raise(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

func TestASignalWaitsForItsCommandToStart(t *testing.T) {
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
		t.Errorf("it hung up on %s", sig)
	}
}

func TestASignalEndsACommandThatDoesNotStart(t *testing.T) {
	h := make(signalRecorder, 4)
	up := make(chan struct{})
	begun := time.Now()
	r := relaySignals(h, false, func() { close(up) })
	raise(t, syscall.SIGTERM)
	<-up
	if sig := r.end(); sig != syscall.SIGTERM || len(h) > 0 {
		t.Errorf("hung up on %v, %d were passed on", sig, len(h))
	}
	if d := time.Since(begun); d < startPatience {
		t.Errorf("it had %s to start", d)
	}
}

func TestTheSecondInterruptHangsUp(t *testing.T) {
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
