//go:build linux

// Package agent is the guest's side: first process of the initramfs, then a daemon
// beside the image's own init.
//
// One static program plays every part, told apart by its arguments, because it is all
// the initramfs holds and an image may lack everything else. The parts:
//
//   - boot, as process 1: brings the root up and replaces itself by the image's init;
//   - daemon: answers the host, for as long as the machine runs;
//   - sentinel: makes systemd wait for the disk to be written before it powers off;
//   - init: process 1 of an image that has no init;
//   - sftp: serves one SFTP session with the rights of its user.
package agent

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// Version is the agent's version, set by the linker.
var Version = "dev"

// Arguments that choose a part.
const (
	partDaemon   = "daemon"
	partSentinel = "sentinel"
	partInit     = "init"
	partSFTP     = "sftp"
)

// Main plays the part that the program's arguments ask for and returns its exit
// status. As process 1 it does not return.
func Main() int {
	// Started through a link of proc, it would be called "exe" in lists of processes.
	_ = os.WriteFile("/proc/self/comm", []byte("stead-agent"), 0)
	part := ""
	if len(os.Args) > 1 {
		part = os.Args[1]
	}
	var err error
	switch {
	case part == partDaemon:
		err = runDaemon()
	case part == partSentinel:
		runSentinel()
	case part == partInit && os.Getpid() == 1:
		runInit()
	case part == partSFTP:
		err = sshd.ServeSFTP()
	case os.Getpid() == 1:
		runBoot()
	default:
		err = fmt.Errorf("stead's agent is started by the kernel of a stead machine, not by hand")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// kernelLog is a writer into the kernel's log, which the console shows and the host
// keeps. It is opened anew for each line: it must work from the first mount on.
type kernelLog struct{}

func (kernelLog) Write(p []byte) (int, error) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr.Write(p)
	}
	defer f.Close()
	// Without a level of its own a line would count as a message of the lowest urgency.
	return fmt.Fprintf(f, "<5>stead-agent: %s", p)
}

// newLog returns a logger into the kernel's log, which stamps the time itself.
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
