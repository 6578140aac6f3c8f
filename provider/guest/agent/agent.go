//go:build linux

// Package agent implements the guest's side: the first process of the initramfs, then a
// daemon beside the image's own init.
//
// One static program has every part, selected by its arguments: it is the only program in
// the initramfs, and an image may lack everything else. The parts:
//
//   - boot, as process 1: mounts the root and replaces itself with the image's init;
//   - daemon: serves the host for as long as the machine runs;
//   - keeper: starts the daemon again if it is killed, and the daemon the keeper;
//   - sentinel: makes systemd wait until the disk is written before it powers off;
//   - init: process 1 of an image that has no init;
//   - sftp: serves one SFTP session as the session's user.
package agent

import (
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// Version is the agent's version, set by the linker.
var Version = "dev"

// Arguments that select a part.
const (
	partDaemon   = "daemon"
	partKeeper   = "keeper"
	partSentinel = "sentinel"
	partInit     = "init"
	partSFTP     = "sftp"
)

// Main runs the part that the program's arguments select and returns the exit status. As
// process 1 it does not return.
func Main() int {
	// Started through /proc/self/exe, the process would be called "exe" in process lists.
	_ = os.WriteFile("/proc/self/comm", []byte("stead-agent"), 0)
	part := ""
	if len(os.Args) > 1 {
		part = os.Args[1]
	}
	var err error
	switch {
	case part == partDaemon:
		err = runDaemon(slices.Contains(os.Args, argRestarted))
	case part == partKeeper:
		runKeeper()
	case part == partSentinel:
		runSentinel()
	case part == partInit && os.Getpid() == 1:
		runInit()
	case part == partSFTP:
		err = sshd.ServeSFTP()
	case os.Getpid() == 1:
		runBoot()
	default:
		err = fmt.Errorf("stead-agent runs inside machines only: the kernel of a stead machine starts it")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// kernelLog writes to the kernel's log, which the console shows and the host stores. It
// opens the log for each line, so that it works from the first mount on.
type kernelLog struct{}

func (kernelLog) Write(p []byte) (int, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr.Write(p)
	}
	defer f.Close()
	// A line without a level would have the lowest priority.
	return fmt.Fprintf(f, "<5>stead-agent: %s", p)
}

// newLog returns a logger that writes to the kernel's log, which adds the time itself.
func newLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(kernelLog{}, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.Any() == slog.LevelInfo) {
				return slog.Attr{}
			}
			return a
		},
	}))
}
