//go:build linux

package agent

import (
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// systemd behaves as in a container (see initEnvironment), whose disks belong to the host:
// before it powers off, it neither unmounts nor syncs, and unwritten data would be lost.
// But it waits for processes to which it has sent SIGTERM. The sentinel is such a process:
// it ends when the disk is written. It also ends with its daemon, as the next daemon starts its own.

// sentinelFD is the sentinel's descriptor of the daemon, see pidfd_open(2).
const sentinelFD = 3

// sentinelWait bounds how long the sentinel waits for other processes, which may still
// write. systemd itself gives them longer.
const sentinelWait = 3 * time.Second

// runSentinel waits for SIGTERM and for the end of other processes, then writes the disk.
func runSentinel() {
	protect(newLog())
	go func() {
		if awaitEnd(sentinelFD) == nil {
			os.Exit(0)
		}
	}()
	signal.Ignore(syscall.SIGHUP) // systemd sends both
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	for end := time.Now().Add(sentinelWait); othersRun("/proc", os.Getpid()) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	unix.Sync()
	// Read-only is safer than synced: no write can be half done at power-off. The remount
	// fails while a process still writes; keepSentinel syncs again later.
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
}

// othersRun reports whether proc lists other processes than process 1, self, kernel threads
// (which have no command line), and processes whose name begins with "@", such as the
// daemon.
func othersRun(proc string, self int) bool {
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/cmdline")) // the pattern is valid
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

// Between the end of a sentinel and the start of the next, the daemon syncs the disk
// itself. Either the machine powers off, and the last writes must not be lost, or systemd
// has done a soft reboot, after which a new sentinel is needed.
const (
	syncEvery  = 50 * time.Millisecond
	syncRounds = 100
)

// keepSentinel runs sentinels for as long as the machine runs.
func keepSentinel(log *slog.Logger) {
	for {
		if err := runOneSentinel(); err != nil {
			log.Warn("cannot run the sentinel: the last writes may be lost at power-off", "err", err)
			return
		}
		for range syncRounds {
			unix.Sync()
			time.Sleep(syncEvery)
		}
	}
}

// runOneSentinel runs a sentinel as a child of process 1, not of the daemon: systemd checks
// which processes remain only when one of its own children has ended.
func runOneSentinel() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	self := os.NewFile(uintptr(fd), "pidfd")
	defer self.Close()
	pidfd, err := startPart([]string{"stead-sentinel", partSentinel}, self)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	return awaitEnd(pidfd)
}
