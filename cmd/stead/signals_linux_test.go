package main

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Guests use Linux's signal numbers, which may differ from the host's.
func TestSignalsHaveLinuxNumbers(t *testing.T) {
	alikeOnMacOS := strings.Fields("HUP INT QUIT ILL TRAP ABRT FPE KILL SEGV PIPE ALRM TERM TTIN TTOU XCPU XFSZ VTALRM PROF WINCH")
	for n := unix.Signal(1); n < 32; n++ {
		name := strings.TrimPrefix(unix.SignalName(n), "SIG")
		if got := guestSignal(name); got != int(n) {
			t.Errorf("%s is %d, want %d", name, got, n)
		}
		if _, ok := linuxSignals[name]; ok == slices.Contains(alikeOnMacOS, name) {
			t.Errorf("%s, %d on Linux, is in the table: %v", name, n, ok)
		}
	}
	if n := guestSignal("NONE"); n != 0 {
		t.Errorf("no signal has the number %d", n)
	}
}
