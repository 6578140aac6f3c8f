//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestMachineHasItsHardware(t *testing.T) {
	l := newLab(t)
	l.config.Cmdline = "loglevel=7" // what init prints
	m := l.boot(t, l.config)

	if got := m.get("/v1/status"); !strings.Contains(got, l.kernel.Release) {
		t.Errorf("status is %s, want kernel %s", got, l.kernel.Release)
	}
	for path, want := range map[string]string{
		"/sys/class/net/eth0/address":    "52:54:00:11:22:33",
		"/sys/block/vda/serial":          guest.RootSerial,
		"/sys/block/vda/size":            "2048", // sectors
		"/sys/devices/system/cpu/online": "0-1",
	} {
		if got := m.file(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for _, driver := range []string{"virtio_balloon", "virtio_rng"} {
		if got := m.get("/glob?pattern=/sys/bus/virtio/drivers/" + driver + "/virtio*"); got == "null" {
			t.Errorf("no device for %s", driver)
		}
	}
	if strings.Contains(m.file("/proc/cpuinfo"), " svm") {
		t.Error("a machine without nested virtualization sees the processor's extension")
	}
	m.post("/mount?type=virtiofs&source=files")
	if got := m.file("/mnt/greeting"); got != "hello from the host" {
		t.Errorf("the shared file says %q", got)
	}
	if text, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(m.PID()), "comm")); err != nil || !strings.HasPrefix(string(text), "qemu") {
		t.Errorf("process %d is %q, %v, want QEMU", m.PID(), text, err)
	}
	if printed := fmt.Sprint(l.config.Console); !strings.Contains(printed, "init: listening") {
		t.Errorf("the console printed %q, want what init prints", printed)
	}
	if err := m.PowerButton(m.ctx); err != nil {
		t.Errorf("PowerButton = %v", err)
	}

	for range 2 {
		if err := m.Kill(m.ctx); err != nil {
			t.Errorf("Kill = %v", err)
		}
	}
	if exit := m.ended(); exit.Reason != hypervisor.Killed || exit.Err != nil {
		t.Errorf("Exit = %+v, want killed", exit)
	}
	if _, err := m.Dial(m.ctx, guest.ControlPort); err == nil {
		t.Error("Dial reached a machine that is gone")
	}
	if err := unix.Kill(m.PID(), 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("QEMU is still there: %v", err)
	}
}

// Machines run with the accelerator that the driver chooses on this host.
func TestAcceleratorOfThisHostRunsMachines(t *testing.T) {
	l := newLab(t)
	guestImage, err := os.ReadFile(l.config.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	l.driver.opts.Accel = accelAuto
	l.driver.opts.ProbeBoot = func(_ context.Context, w io.Writer) (string, string, error) {
		_, err := w.Write(guestImage)
		return l.kernel.Path, "digest", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), vmTimeout)
	defer cancel()
	caps, err := l.driver.Capabilities(ctx)
	var denied *PermissionError
	if errors.As(err, &denied) {
		t.Skipf("this user may not open /dev/kvm: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("this host: %+v", caps)
	l.boot(t, l.config)
}

func TestNestedMachineSeesTheExtension(t *testing.T) {
	l := newLab(t)
	l.config.Nested = true
	if m := l.boot(t, l.config); !strings.Contains(m.file("/proc/cpuinfo"), " svm") {
		t.Error("the processor has no extension for virtual machines")
	}
}

func TestExitReasons(t *testing.T) {
	l := newLab(t)
	tests := map[string]struct {
		end    func(machine)
		reason hypervisor.Reason
		words  string // of Exit.Err
	}{
		"power off": {
			end:    func(m machine) { m.order("/reboot?how=poweroff") },
			reason: hypervisor.PoweredOff,
		},
		"reboot": {
			end:    func(m machine) { m.order("/reboot?how=reset") },
			reason: hypervisor.Rebooted,
		},
		"a kernel that panics": {
			end:    func(m machine) { m.order("/panic") },
			reason: hypervisor.Crashed,
			words:  "the guest's kernel panicked: sysrq triggered crash",
		},
		"QEMU killed by another process": {
			end: func(m machine) {
				if err := unix.Kill(m.PID(), unix.SIGKILL); err != nil {
					m.t.Error(err)
				}
			},
			reason: hypervisor.Crashed,
			words:  "QEMU failed: signal: killed",
		},
		"file server killed by another process": {
			end: func(m machine) {
				server := m.VM.(*vm).shares[0].process.cmd.Process
				if err := server.Kill(); err != nil {
					m.t.Error(err)
				}
			},
			reason: hypervisor.Crashed,
			words:  "lost a share: the file server for " + l.config.Shares[0].Path,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := l.boot(t, l.config)
			servers := m.VM.(*vm).shares
			tt.end(m)
			exit := m.ended()
			if exit.Reason != tt.reason {
				t.Errorf("Exit = %v (%v), want %v", exit.Reason, exit.Err, tt.reason)
			}
			if (exit.Err == nil) != (tt.words == "") || exit.Err != nil && !strings.Contains(exit.Err.Error(), tt.words) {
				t.Errorf("Exit.Err = %v, want %q", exit.Err, tt.words)
			}
			for _, s := range servers {
				select {
				case <-s.process.done:
				default:
					t.Errorf("%s is still there", s.process.name)
				}
			}
		})
	}
}

func TestStartReportsTheErrorOfTheFailedProcess(t *testing.T) {
	l := newLab(t)
	tests := map[string]struct {
		change func(*hypervisor.Config)
		words  string
	}{
		"a disk that is in use": {
			change: func(c *hypervisor.Config) { c.Disks = append(c.Disks, c.Disks...) },
			words:  `Failed to get "write" lock`,
		},
		"a kernel that QEMU cannot load": {
			change: func(c *hypervisor.Config) { c.Kernel = c.Disks[0].Path },
			words:  "QEMU failed: exit status 1: ",
		},
		"a share that the server refuses": {
			change: func(c *hypervisor.Config) {
				c.Shares = []hypervisor.Share{{Tag: "files", Path: c.Shares[0].Path, ReadOnly: true}}
			},
			words: "the file server for " + l.config.Shares[0].Path + " failed: exit status 1: no such share",
		},
	}
	l.driver.opts.ShareCommand = func(s hypervisor.Share, socket string) *exec.Cmd {
		if s.ReadOnly {
			return exec.Command("sh", "-c", "echo no such share >&2; exit 1")
		}
		return shareCommand(s, socket)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := l.config
			tt.change(&c)
			ctx, cancel := context.WithTimeout(t.Context(), vmTimeout)
			defer cancel()
			vm, err := l.driver.Start(ctx, c)
			if err == nil {
				t.Fatal(errors.Join(errors.New("Start succeeded"), vm.Kill(ctx)))
			}
			var failed *ProcessError
			if !errors.As(err, &failed) || len(failed.Args) == 0 || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("Start = %v, want a ProcessError with %q", err, tt.words)
			}
		})
	}
}

// Memory that a guest frees goes back to the host.
func TestFreedMemoryGoesBackToTheHost(t *testing.T) {
	l := newLab(t)
	l.config.Memory = 1 << 30
	m := l.boot(t, l.config)

	const filled = 500 << 20
	before := residentBytes(t, m.PID())
	m.post(fmt.Sprintf("/memory?bytes=%d", filled))
	full := residentBytes(t, m.PID())
	if full-before < filled*9/10 {
		t.Fatalf("the guest filled %d MiB and QEMU grew by %d", filled>>20, (full-before)>>20)
	}
	m.post("/memory?bytes=0")
	for { // a booting guest keeps fragments of what it frees
		now := residentBytes(t, m.PID())
		if full-now >= filled/2 {
			t.Logf("QEMU held %d MiB, then %d, then %d", before>>20, full>>20, now>>20)
			return
		}
		select {
		case <-m.ctx.Done():
			t.Fatalf("QEMU held %d MiB, then %d, and at last %d", before>>20, full>>20, now>>20)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
