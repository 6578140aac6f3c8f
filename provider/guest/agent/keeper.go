//go:build linux

package agent

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/agent/oom"
)

// The daemon and its keeper watch each other, and start each other again. Inits restart only
// what they have a configuration for, and an image's own configuration is not the agent's to
// change. Whoever kills both at the same time, as only root can, ends the agent until the next
// boot.

// keeperFD is the keeper's descriptor of the daemon, and daemonFD the restarted daemon's of the
// keeper, see pidfd_open(2). A number of a process could be that of another one by now.
const (
	keeperFD = 3
	daemonFD = 4
)

// argRestarted tells the daemon that it is not the first of this boot.
const argRestarted = "restarted"

// protect keeps the kernel from killing this process when memory is full.
func protect(log *slog.Logger) {
	if err := oom.Protect(); err != nil {
		log.Warn("the kernel may kill the agent when memory is full", "err", err)
	}
}

// runKeeper starts the daemon again whenever it has ended, until the init ends all processes.
func runKeeper() {
	log := newLog()
	protect(log)
	syscall.CloseOnExec(keeperFD)
	go func() {
		daemon := peer{log: log, name: "daemon", start: func(self *os.File) (int, error) {
			none, err := os.Open(os.DevNull) // the init was started long ago
			if err != nil {
				return -1, err
			}
			defer none.Close()
			return startPart([]string{"@stead-agent", partDaemon, argRestarted}, none, self)
		}}
		daemon.keep(keeperFD)
	}()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
}

// keepKeeper starts the keeper, unless pidfd is that of a running one, and starts it again
// whenever it has ended.
func keepKeeper(log *slog.Logger, pidfd int) {
	keeper := peer{log: log, name: "keeper", start: func(self *os.File) (int, error) {
		return startPart([]string{"@stead-agent", partKeeper}, self)
	}}
	keeper.keep(pidfd)
}

// Pauses before a process is started again, which double while it ends soon after its start.
// The least one is long enough for a signal that the init sends to all processes to arrive here
// too.
const (
	leastRest = 100 * time.Millisecond
	mostRest  = 30 * time.Second
	steady    = time.Minute // a process that lived that long has started well
)

// rest returns the pause after a process that lived this long, where last is the previous pause.
func rest(lived, last time.Duration) time.Duration {
	if lived >= steady {
		return leastRest
	}
	return min(max(2*last, leastRest), mostRest)
}

// peer is another part of the agent that must run.
type peer struct {
	log   *slog.Logger
	name  string
	start func(self *os.File) (pidfd int, err error) // self is for the peer to watch this process
}

// keep keeps the peer running. pidfd is that of a running one; -1: it was not started yet.
func (p peer) keep(pidfd int) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0) // since Linux 5.3
	if err != nil {
		p.log.Warn("the agent's "+p.name+" is not started again if it ends", "err", err)
		return
	}
	self := os.NewFile(uintptr(fd), "pidfd")
	defer self.Close()
	for pause := time.Duration(0); ; pidfd = -1 {
		pause = p.runOnce(pidfd, self, pause)
		time.Sleep(pause)
	}
}

// runOnce starts the peer, unless pidfd is that of a running one, and waits for its end. It
// returns how long to wait before the next start, where last is the previous such pause.
func (p peer) runOnce(pidfd int, self *os.File, last time.Duration) time.Duration {
	began := time.Now()
	if pidfd < 0 {
		var err error
		if pidfd, err = p.start(self); err != nil {
			p.log.Error("cannot start the agent's "+p.name, "err", err)
			return rest(0, last)
		}
	}
	err := awaitEnd(pidfd)
	_ = unix.Close(pidfd)
	pause := rest(time.Since(began), last)
	p.log.Warn("the agent's "+p.name+" has ended; starting it again", "duration", time.Since(began).Round(time.Millisecond), "err", err)
	return pause
}

// awaitEnd waits for the end of a process.
func awaitEnd(pidfd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// startPart starts a part of the agent as a child of process 1, like this process, so that it
// does not end with this process and needs no Wait.
func startPart(args []string, files ...*os.File) (pidfd int, err error) {
	pidfd = -1
	cmd := &exec.Cmd{
		Path: programPath, Args: args, Dir: "/", ExtraFiles: files, Env: daemonEnvironment(),
		Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_PARENT, PidFD: &pidfd},
	}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	_ = cmd.Process.Release() // always nil on Linux
	if pidfd < 0 {
		return -1, errors.New("the kernel has no pidfd")
	}
	return pidfd, nil
}
