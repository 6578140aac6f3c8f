//go:build linux

package agent

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runInit is process 1 of an image without an init. It reaps children and obeys the same
// signals as busybox's init. It does not return.
func runInit() {
	orders := make(chan os.Signal, 4)
	signal.Notify(orders, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	// Ctrl-Alt-Del becomes SIGINT instead of a reset that loses data.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	reap(orders)
}

// reap collects dead children and obeys orders, forever.
func reap(orders <-chan os.Signal) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for {
		collect()
		select {
		case <-died:
		case sig := <-orders:
			how := unix.LINUX_REBOOT_CMD_RESTART
			switch sig {
			case syscall.SIGUSR1:
				how = unix.LINUX_REBOOT_CMD_HALT
			case syscall.SIGUSR2:
				how = unix.LINUX_REBOOT_CMD_POWER_OFF
			}
			shutDown(how)
		}
	}
}

// collect reaps every dead child.
func collect() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && (err != nil || pid == 0) {
			return
		}
	}
}

// politeness is how long processes get between SIGTERM and SIGKILL.
const politeness = 5 * time.Second

// shutDown ends all processes, syncs the disk and powers off or reboots.
func shutDown(how int) {
	_ = unix.Kill(-1, unix.SIGTERM)
	_ = unix.Kill(-1, unix.SIGHUP) // an interactive shell heeds only this one
	for end := time.Now().Add(politeness); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		collect()
		if !othersRun("/proc", 1) {
			break
		}
	}
	_ = unix.Kill(-1, unix.SIGKILL)
	collect()
	unix.Sync()
	_ = unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	_ = unix.Reboot(how)
}
