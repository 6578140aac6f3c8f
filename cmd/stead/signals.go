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

// signalRelay passes the signals that we get on to a command in a machine. A second
// interrupt, and the end of our terminal, hang up: the command or the machine may not
// listen. So does any signal for a command that does not start.
type signalRelay struct {
	started chan struct{} // to be closed when the command runs
	signals chan os.Signal
	done    chan struct{}
	final   syscall.Signal
}

// signaller is the part of an SSH session that a relay uses.
type signaller interface{ Signal(sig ssh.Signal) error }

// relaySignals catches signals from now on, so that none is lost while the command starts.
// In a terminal in raw mode Ctrl-C is a byte like others and is no signal here.
func relaySignals(to signaller, tty bool, hangUp func()) *signalRelay {
	r := &signalRelay{started: make(chan struct{}), signals: make(chan os.Signal, 4), done: make(chan struct{})}
	for sig := range signalNames {
		if tty && sig == syscall.SIGINT {
			continue
		}
		signal.Notify(r.signals, sig)
	}
	go r.run(to, hangUp)
	return r
}

func (r *signalRelay) run(to signaller, hangUp func()) {
	defer close(r.done)
	interrupts := 0
	for s := range r.signals {
		sig := s.(syscall.Signal)
		select {
		case <-r.started:
		case <-time.After(startPatience):
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

// end stops that and gives the signal on which it hung up.
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
