package main

import (
	"os"
	"os/signal"
	"sync"
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

const (
	// startPatience is how long a signal waits for its command to start.
	startPatience = 2 * time.Second
	// lastPatience is how long the last signal may take to reach a supervisor that is busy.
	lastPatience = 100 * time.Millisecond
)

// signalRelay passes signals to a command in a machine. Until the guest has answered, any
// signal hangs up at once. Afterwards a signal waits a moment for the command to start. A
// second interrupt, and the end of the terminal, hang up too: the command, the machine, its
// supervisor or the reader of standard output may not react.
type signalRelay struct {
	opened  chan struct{}  // closed once the guest has answered
	started chan signaller // receives the session once its command runs
	gaveUp  chan struct{}  // closed when the relay hangs up: nothing is waited for any more

	signals chan os.Signal
	sending chan relayedSignal
	hangUp  func()
	done    chan struct{}

	mu    sync.Mutex
	final syscall.Signal // on which the relay hung up
	ended bool
}

// relayedSignal is a signal on its way to the command.
type relayedSignal struct {
	syscall.Signal
	sent chan struct{} // closed once it is written to the supervisor
}

// signaller is the part of an SSH session that a relay uses.
type signaller interface{ Signal(sig ssh.Signal) error }

// relaySignals catches signals from now on, so that none is lost. In a terminal in raw mode
// Ctrl-C is a byte like others and no signal.
func relaySignals(hangUp func()) *signalRelay {
	r := &signalRelay{
		opened: make(chan struct{}), started: make(chan signaller, 1), gaveUp: make(chan struct{}),
		signals: make(chan os.Signal, 4), sending: make(chan relayedSignal, 16), hangUp: hangUp, done: make(chan struct{}),
	}
	for sig := range signalNames {
		signal.Notify(r.signals, sig)
	}
	go r.send()
	go r.run()
	return r
}

// run counts signals. It never waits for the supervisor, which may take no bytes.
func (r *signalRelay) run() {
	defer close(r.done)
	defer close(r.sending)
	interrupts := 0
	for s := range r.signals {
		sig := relayedSignal{s.(syscall.Signal), make(chan struct{})}
		if sig.Signal == syscall.SIGINT || sig.Signal == syscall.SIGTERM {
			interrupts++
		}
		select {
		case r.sending <- sig:
		default: // so many already wait that one more says nothing new
		}
		if sig.Signal == syscall.SIGHUP || interrupts >= 2 {
			select {
			case <-sig.sent:
			case <-time.After(lastPatience):
			}
			r.giveUp(sig.Signal)
		}
	}
}

// send passes the signals on, in their order.
func (r *signalRelay) send() {
	var to signaller
	for sig := range r.sending {
		if to == nil {
			to = r.awaitStart()
		}
		if to == nil {
			r.giveUp(sig.Signal)
		} else {
			_ = to.Signal(signalNames[sig.Signal])
		}
		close(sig.sent)
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
	case <-r.done:
	}
	return nil
}

// giveUp hangs up, once. The next signal ends the program by itself, whatever it waits for.
func (r *signalRelay) giveUp(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.final != 0 {
		return
	}
	r.final = sig
	for sig := range signalNames {
		signal.Reset(sig)
	}
	close(r.gaveUp)
	r.hangUp()
}

// end stops the relay and returns the signal on which it hung up, or 0.
func (r *signalRelay) end() syscall.Signal {
	signal.Stop(r.signals)
	close(r.signals)
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
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
