//go:build linux

package initsys

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals that inits obey: see systemd(1), and busybox's init.c, which the agent's minimal
// init follows.
const (
	sigRTMin        = 34 // glibc's SIGRTMIN, the base of systemd's signals
	systemdPowerOff = syscall.Signal(sigRTMin + 4)
	systemdReboot   = syscall.Signal(sigRTMin + 5)
	busyboxPowerOff = unix.SIGUSR2
	busyboxReboot   = unix.SIGTERM
)

// Shutdown asks the init to power off or reboot the machine, and does not wait for it.
// stopSignal is the image's. It is used only for an unknown init: it is often for the
// program that a container would run, or (SIGRTMIN+3) halts without powering off.
func (i Init) Shutdown(ctx context.Context, reboot bool, stopSignal string) error {
	var sig syscall.Signal
	switch i.PID1 {
	case Systemd:
		if err := (systemd{}).ready(ctx); err != nil { // earlier signals are lost
			return err
		}
		sig = choose(reboot, systemdReboot, systemdPowerOff)
	case Busybox, Agent:
		sig = choose(reboot, busyboxReboot, busyboxPowerOff)
	case SysVinit:
		return tool(ctx, "shutdown", choose(reboot, "-r", "-h"), "-P", "now")
	case OpenRC:
		return tool(ctx, "openrc-shutdown", choose(reboot, "-r", "-p"), "now")
	case Unknown:
		var err error
		if sig, err = ParseSignal(stopSignal); err != nil {
			return err
		}
	}
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("send %s to init: %w", sig, err)
	}
	return nil
}

func choose[T any](reboot bool, yes, no T) T {
	if reboot {
		return yes
	}
	return no
}

func tool(ctx context.Context, name string, args ...string) error {
	if out, err := command(ctx, name, args...); err != nil {
		return fmt.Errorf("%s: %w", name, words(out, err))
	}
	return nil
}

// ParseSignal reads an image's stop signal: "SIGTERM", "TERM", "15" or "SIGRTMIN+3";
// empty means SIGTERM.
func ParseSignal(text string) (syscall.Signal, error) {
	if text == "" {
		return unix.SIGTERM, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if s := unix.SignalNum("SIG" + name); s != 0 {
		return s, nil
	}
	if offset, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(offset, "+"))
		if err == nil && n <= 64-sigRTMin {
			return syscall.Signal(sigRTMin + n), nil
		}
	}
	return 0, fmt.Errorf("the image's stop signal %q is not a signal", text)
}
