package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// signalNames are the signals that are passed on to the guest (RFC 4254, 6.10).
var signalNames = map[os.Signal]ssh.Signal{
	syscall.SIGINT: ssh.SIGINT, syscall.SIGTERM: ssh.SIGTERM, syscall.SIGHUP: ssh.SIGHUP,
	syscall.SIGQUIT: ssh.SIGQUIT, syscall.SIGUSR1: ssh.SIGUSR1, syscall.SIGUSR2: ssh.SIGUSR2,
}

// startPatience is how long a signal waits for its command to start.
const startPatience = 2 * time.Second

// signalRelay passes signals to a command in a machine. Until the guest has answered, any
// signal hangs up at once. Afterwards a signal waits a moment for the command to start. A
// second interrupt, and the end of the terminal, hang up too: the command or the machine
// may not react.
type signalRelay struct {
	opened  chan struct{}  // closed once the guest has answered
	started chan signaller // receives the session once its command runs
	signals chan os.Signal
	done    chan struct{}
	final   syscall.Signal
}

// signaller is the part of an SSH session that a relay uses.
type signaller interface{ Signal(sig ssh.Signal) error }

// relaySignals catches signals from now on, so that none is lost. In a terminal in raw mode
// Ctrl-C is a byte like others and no signal.
func relaySignals(hangUp func()) *signalRelay {
	r := &signalRelay{
		opened: make(chan struct{}), started: make(chan signaller, 1),
		signals: make(chan os.Signal, 4), done: make(chan struct{}),
	}
	for sig := range signalNames {
		signal.Notify(r.signals, sig)
	}
	go r.run(hangUp)
	return r
}

func (r *signalRelay) run(hangUp func()) {
	defer close(r.done)
	var to signaller
	interrupts := 0
	for s := range r.signals {
		sig := s.(syscall.Signal)
		if to == nil {
			to = r.awaitStart()
		}
		if to == nil {
			r.final = sig
			hangUp()
			continue
		}
		_ = to.Signal(signalNames[sig])
		if sig == syscall.SIGINT || sig == syscall.SIGTERM {
			interrupts++
		}
		if sig == syscall.SIGHUP || interrupts == 2 {
			r.final = sig
			hangUp()
		}
	}
}

// awaitStart returns the session of the command, or nil if the guest has not answered or the
// command does not start soon.
func (r *signalRelay) awaitStart() signaller {
	select {
	case <-r.opened:
	default:
		return nil
	}
	select {
	case to := <-r.started:
		return to
	case <-time.After(startPatience):
		return nil
	}
}

// end stops the relay and returns the signal on which it hung up, or 0.
func (r *signalRelay) end() syscall.Signal {
	signal.Stop(r.signals)
	close(r.signals)
	<-r.done
	return r.final
}

// linuxSignals are those that have another number, or none, on macOS (signal(7), the
// numbers of x86 and ARM).
var linuxSignals = map[string]int{
	"BUS": 7, "USR1": 10, "USR2": 12, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20,
	"URG": 23, "IO": 29, "PWR": 30, "SYS": 31,
}

// guestSignal returns the number of a signal in a machine, or 0 if the name is unknown.
func guestSignal(name string) int {
	if n, ok := linuxSignals[name]; ok {
		return n
	}
	return int(unix.SignalNum("SIG" + name))
}
