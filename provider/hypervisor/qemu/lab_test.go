//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// vmTimeout bounds a test that boots a machine. Emulation is slow on a busy host, and CI
// tests all packages at once.
const vmTimeout = 5 * time.Minute

// lab is the fixture of the tests with real machines.
type lab struct {
	driver  *Driver
	kernel  kernel.Kernel
	config  hypervisor.Config // of a machine with every device; copy it
	console *screen           // of its machines
}

// screen keeps what guests print.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// newLab creates a lab whose machines run testdata/init, or skips the test.
func newLab(t *testing.T) lab {
	t.Helper()
	if testing.Short() {
		t.Skip("-short boots no machines; CI runs without it")
	}
	if _, err := exec.LookPath(platforms[runtime.GOARCH].binary); err != nil {
		t.Skipf("needs QEMU, which CI installs: %v", err)
	}
	k, err := kernel.Host(runtime.GOARCH)
	if err != nil {
		t.Skipf("needs a kernel package, which CI installs: %v", err)
	}
	l := lab{kernel: k, console: &screen{}}
	dir := t.TempDir()
	l.driver, err = New(Options{CacheDir: filepath.Join(dir, "cache"), Accel: accelTCG, ShareCommand: shareCommand})
	if err != nil {
		t.Fatal(err)
	}
	l.config = hypervisor.Config{
		Name: "lab", CPUs: 2, Memory: 512 << 20, Kernel: k.Path,
		Initrd:  filepath.Join(dir, "initrd"),
		Disks:   []hypervisor.Disk{{Path: filepath.Join(dir, "disk"), Serial: guest.RootSerial}},
		Shares:  []hypervisor.Share{{Tag: "files", Path: filepath.Join(dir, "files")}},
		Network: &hypervisor.Network{MAC: net.HardwareAddr{0x52, 0x54, 0, 0x11, 0x22, 0x33}},
		Console: l.console,
		RunDir:  dir,
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

// initramfs creates an initramfs with testdata/init as its init.
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

// machine is a running machine with a client for its init.
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
			t.Logf("console:\n%s", c.Console)
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

// order asks init for something that ends the machine, perhaps before init answers.
func (m machine) order(path string) {
	m.t.Helper()
	r, err := http.NewRequestWithContext(m.ctx, http.MethodPost, "http://guest"+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if answer, err := m.http.Do(r); err == nil {
		answer.Body.Close()
	}
}

// file reads a file in the guest.
func (m machine) file(path string) string {
	m.t.Helper()
	return m.get("/file?path=" + url.QueryEscape(path))
}

// ended waits until the machine ends.
func (m machine) ended() hypervisor.Exit {
	m.t.Helper()
	select {
	case <-m.Done():
	case <-m.ctx.Done():
		m.t.Fatal("the machine did not end")
	}
	return m.Exit()
}
