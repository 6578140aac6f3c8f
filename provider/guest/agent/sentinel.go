//go:build linux

package agent

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// systemd believes that it runs in a container (see initEnvironment), whose disks are
// the host's to care for: before it powers off it neither unmounts nor syncs, and what
// was not written yet would be lost. But it waits for the processes that it sent
// SIGTERM. The sentinel is such a process: it ends when the disk is written.

// sentinelWait bounds how long the sentinel waits for other processes to end, which
// may still write. systemd itself gives them longer.
const sentinelWait = 3 * time.Second

// runSentinel waits for SIGTERM, for the end of the others, and writes the disk.
func runSentinel() {
	signal.Ignore(syscall.SIGHUP) // systemd sends both
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	for end := time.Now().Add(sentinelWait); othersRun("/proc", os.Getpid()) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	unix.Sync()
	// Read-only is more than written: nothing can be half-done when the power goes. It
	// fails while somebody still writes, who will be heard of by keepSentinel.
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// othersRun reports whether proc shows processes besides process 1, the one given,
// the kernel's threads (which have no command line) and those that have asked to be
// spared by an @, the daemon among them.
func othersRun(proc string, self int) bool {
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/cmdline")) // the pattern is sound
	for _, f := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || pid == 1 || pid == self {
			continue
		}
		if text, err := os.ReadFile(f); err == nil && len(text) > 0 && text[0] != '@' {
			return true
		}
	}
	return false
}

// Between a sentinel's end and the next one the daemon writes the disk itself: either
// the power goes off, and what the last processes wrote must not be lost, or systemd
// has only rebooted its services and a new sentinel is needed.
const (
	syncEvery  = 50 * time.Millisecond
	syncRounds = 100
)

// keepSentinel runs sentinels for as long as the machine runs.
func keepSentinel(log *slog.Logger) {
	for {
		if err := oneSentinel(); err != nil {
			log.Warn("what is written last may be lost at power-off: no sentinel", "error", err)
			return
		}
		for range syncRounds {
			unix.Sync()
			time.Sleep(syncEvery)
		}
	}
}

// oneSentinel runs a sentinel as a child of process 1, not of the daemon: systemd
// looks again for who is still there only when a child of its own has ended.
func oneSentinel() error {
	pidfd := -1
	cmd := &exec.Cmd{
		Path: programPath, Args: []string{"stead-sentinel", partSentinel}, Dir: "/",
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_PARENT, PidFD: &pidfd},
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if pidfd < 0 {
		return errors.New("the kernel has no pidfd")
	}
	defer unix.Close(pidfd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
