//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// vmTimeout bounds every test that boots a machine; emulation is slow on a busy host.
const vmTimeout = 2 * time.Minute

// lab is what the tests with real machines share.
type lab struct {
	driver *Driver
	kernel kernel.Kernel
	config hypervisor.Config // of a machine with everything; copy it
}

// newLab makes a lab whose machines have testdata/init as their init, or skips the test.
func newLab(t *testing.T) lab {
	t.Helper()
	if testing.Short() {
		t.Skip("-short boots no machines; CI runs without it")
	}
	if _, err := exec.LookPath(platforms["amd64"].binary); err != nil {
		t.Skipf("CI installs QEMU, this host has none: %v", err)
	}
	k, err := kernel.Host()
	if err != nil {
		t.Skipf("CI installs a kernel package, this host has none: %v", err)
	}
	l := lab{kernel: k}
	dir := t.TempDir()
	l.driver, err = New(Options{CacheDir: filepath.Join(dir, "cache"), Accel: accelTCG, ShareCommand: shareCommand})
	if err != nil {
		t.Fatal(err)
	}
	l.config = hypervisor.Config{
		Name: "lab", CPUs: 2, Memory: 512 << 20, Kernel: k.Path,
		Initrd:     filepath.Join(dir, "initrd"),
		Disks:      []hypervisor.Disk{{Path: filepath.Join(dir, "disk"), Serial: guest.RootSerial}},
		Shares:     []hypervisor.Share{{Tag: "files", Path: filepath.Join(dir, "files")}},
		Network:    &hypervisor.Network{MAC: net.HardwareAddr{0x52, 0x54, 0, 0x11, 0x22, 0x33}},
		ConsoleLog: filepath.Join(dir, "console.log"),
		RunDir:     dir,
	}
	err = errors.Join(
		os.WriteFile(l.config.Initrd, initramfs(t, k), 0o600),
		os.WriteFile(l.config.Disks[0].Path, make([]byte, 1<<20), 0o600),
		os.Mkdir(l.config.Shares[0].Path, 0o700),
		os.WriteFile(filepath.Join(l.config.Shares[0].Path, "greeting"), []byte("hello from the host"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// initramfs makes an initramfs with testdata/init as its init.
func initramfs(t *testing.T, k kernel.Kernel) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./testdata/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build init: %v\n%s", err, out)
	}
	agent, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := k.Modules(kernel.Needs{Shares: true, Network: true})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := kernel.Initramfs(&b, kernel.InitramfsOptions{Agent: agent, Boot: guest.Boot{Probe: true}, Kernel: k, Modules: modules}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// machine is a running one, with a client for its init.
type machine struct {
	hypervisor.VM
	t    *testing.T
	ctx  context.Context
	http *http.Client
}

// boot starts c and waits until its init answers.
func (l lab) boot(t *testing.T, c hypervisor.Config) machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), vmTimeout)
	t.Cleanup(cancel)
	vm, err := l.driver.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	m := machine{VM: vm, t: t, ctx: ctx, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return vm.Dial(ctx, guest.ControlPort) },
	}}}
	t.Cleanup(func() {
		if err := vm.Kill(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(c.ConsoleLog)
			t.Logf("console:\n%s", text)
		}
	})
	m.get("/v1/status")
	return m
}

// call asks init and returns its answer.
func (m machine) call(method, path string) string {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.ctx, method, "http://guest"+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	answer, err := m.http.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		m.t.Fatalf("%s: %s: %s", path, answer.Status, text)
	}
	return strings.TrimSpace(string(text))
}

func (m machine) get(path string) string  { m.t.Helper(); return m.call(http.MethodGet, path) }
func (m machine) post(path string) string { m.t.Helper(); return m.call(http.MethodPost, path) }

// file reads a file in the guest.
func (m machine) file(path string) string {
	m.t.Helper()
	return m.get("/file?path=" + url.QueryEscape(path))
}

// ended waits for the end of the machine.
func (m machine) ended() hypervisor.Exit {
	m.t.Helper()
	select {
	case <-m.Done():
	case <-m.ctx.Done():
		m.t.Fatal("the machine did not end")
	}
	return m.Exit()
}

func TestMachineHasItsHardware(t *testing.T) {
	l := newLab(t)
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

// Whatever is found out about this host, machines run with it.
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
		t.Skipf("CI may use /dev/kvm or has none, this user may not: %v", err)
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

func TestEndsAreToldApart(t *testing.T) {
	l := newLab(t)
	tests := map[string]struct {
		end    func(machine)
		reason hypervisor.Reason
		words  string // of Exit.Err
	}{
		"power off": {
			end:    func(m machine) { m.post("/reboot?how=poweroff") },
			reason: hypervisor.PoweredOff,
		},
		"reboot": {
			end:    func(m machine) { m.post("/reboot?how=reset") },
			reason: hypervisor.Rebooted,
		},
		"a kernel that panics": {
			end:    func(m machine) { m.post("/panic") },
			reason: hypervisor.Crashed,
			words:  "the guest's kernel panicked: sysrq triggered crash",
		},
		"QEMU killed by somebody": {
			end: func(m machine) {
				if err := unix.Kill(m.PID(), unix.SIGKILL); err != nil {
					m.t.Error(err)
				}
			},
			reason: hypervisor.Crashed,
			words:  "QEMU failed: signal: killed",
		},
		"a file server killed by somebody": {
			end: func(m machine) {
				server := m.VM.(*vm).shares[0].process.cmd.Process
				if err := server.Kill(); err != nil {
					m.t.Error(err)
				}
			},
			reason: hypervisor.Crashed,
			words:  "lost its share: the file server for " + l.config.Shares[0].Path,
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

func TestStartFailsInTheWordsOfTheCulprit(t *testing.T) {
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

// A machine's memory that its guest no longer uses is the host's again.
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
	for {
		now := residentBytes(t, m.PID())
		if full-now >= filled*7/10 {
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
