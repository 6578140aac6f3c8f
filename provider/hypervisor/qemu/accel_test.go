//go:build linux

package qemu

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// fakeHost is a host whose QEMU is a shell script and whose KVM is an empty file.
type fakeHost struct {
	dir    string
	binary string
	kvm    string
}

func newFakeHost(t *testing.T, script string) fakeHost {
	t.Helper()
	dir := t.TempDir()
	h := fakeHost{dir: dir, binary: filepath.Join(dir, "qemu"), kvm: filepath.Join(dir, "kvm")}
	text := "#!/bin/sh\necho run >> " + filepath.Join(dir, "runs") + "\n" + script + "\n"
	if err := errors.Join(os.WriteFile(h.binary, []byte(text), 0o755), os.WriteFile(h.kvm, nil, 0o600), os.WriteFile(filepath.Join(dir, "vmlinuz"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h fakeHost) driver(t *testing.T, accel, digest string) *Driver {
	t.Helper()
	d, err := New(Options{
		CacheDir: filepath.Join(h.dir, "cache"), Binary: h.binary, Accel: accel,
		ProbeBoot: func(context.Context, io.Writer) (string, string, error) {
			return filepath.Join(h.dir, "vmlinuz"), digest, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.kvm, d.signOfLife, d.hello = h.kvm, time.Minute, time.Minute // leaves the script time to start
	return d
}

// runs returns how often the fake QEMU was started.
func (h fakeHost) runs(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "runs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "run\n")
}

const brokenKVM = "echo 'qemu: error: failed to set MSR 0x10a to 0x0' >&2; exit 134"

func TestAcceleratorIsChosen(t *testing.T) {
	tests := map[string]struct {
		script  string
		accel   string
		noKVM   bool
		hangs   bool
		want    string
		warning string
		runs    int
	}{
		"emulation on demand runs no test": {accel: accelTCG, want: accelTCG},
		"no KVM":                           {noKVM: true, want: accelTCG, warning: "there is no /dev/kvm"},
		"KVM that makes QEMU fail":         {script: brokenKVM, want: accelTCG, warning: "failed to set MSR 0x10a", runs: 1},
		"KVM that hangs":                   {script: "exec sleep 1000", hangs: true, want: accelTCG, warning: "a test guest printed nothing within", runs: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t, tt.script)
			d := h.driver(t, tt.accel, "digest")
			if tt.noKVM {
				d.kvm = filepath.Join(h.dir, "absent")
			}
			if tt.hangs {
				d.signOfLife = 500 * time.Millisecond // the script may not have started by then
			}
			got, err := d.Capabilities(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if v, err := d.decide(t.Context(), runtime.GOARCH); err != nil || v.Accel != tt.want {
				t.Errorf("the accelerator is %s, %v, want %s", v.Accel, err, tt.want)
			}
			if !strings.Contains(got.Warning, tt.warning) || (tt.warning == "") != (got.Warning == "") {
				t.Errorf("Capabilities = %+v, want a warning with %q", got, tt.warning)
			}
			if strings.Contains(got.Warning, "\n") {
				t.Errorf("the warning has more than one line: %q", got.Warning)
			}
			if n := h.runs(t); n > tt.runs || n < tt.runs && !tt.hangs {
				t.Errorf("QEMU ran %d times, want %d", n, tt.runs)
			}
		})
	}
}

func TestVerdictIsKeptPerKernelAndHostStart(t *testing.T) {
	h := newFakeHost(t, brokenKVM)
	ask := func(digest string, runs int) {
		t.Helper()
		c, err := h.driver(t, accelAuto, digest).Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.Warning == "" {
			t.Errorf("Capabilities = %+v, want emulation with a warning", c)
		}
		if n := h.runs(t); n != runs {
			t.Errorf("QEMU ran %d times, want %d", n, runs)
		}
	}
	ask("kernel 1", 1)
	ask("kernel 1", 1)
	ask("kernel 2", 2)
	ask("kernel 1", 2)

	cache := filepath.Join(h.dir, "cache", "accelerator.json")
	if err := os.WriteFile(cache, []byte(`{"bootId":"another","verdicts":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("kernel 1", 3)
	if err := os.WriteFile(cache, []byte(`damaged`), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("kernel 1", 4)
}

func TestConcurrentCallersTestKVMOnce(t *testing.T) {
	h := newFakeHost(t, brokenKVM)
	var wg sync.WaitGroup
	for range 4 {
		d := h.driver(t, accelAuto, "digest")
		wg.Go(func() {
			if _, err := d.Capabilities(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := h.runs(t); n != 1 {
		t.Errorf("QEMU ran %d times, want once", n)
	}
}

func TestInterruptedProbeIsNotCached(t *testing.T) {
	h := newFakeHost(t, "exec sleep 1000")
	d := h.driver(t, accelAuto, "digest")
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(h.dir, "runs")); err == nil {
				cancel(interrupted)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := d.Capabilities(ctx); !errors.Is(err, interrupted) {
		t.Errorf("Capabilities = %v, want %v", err, interrupted)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "cache", "accelerator.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a verdict was stored: %v", err)
	}
}

func TestRequiredKVMIsNotReplacedByEmulation(t *testing.T) {
	_, err := newFakeHost(t, brokenKVM).driver(t, accelKVM, "digest").Capabilities(t.Context())
	var dead *AcceleratorError
	if !errors.As(err, &dead) || !strings.Contains(dead.Error(), "MSR 0x10a") || dead.Remedy() == "" {
		t.Errorf("Capabilities = %v, want an AcceleratorError with QEMU's words", err)
	}
}

func TestKVMWithoutPermissionIsNotReplacedByEmulation(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root has every permission; in CI, cmd/stead's refusals.txt tests this as an ordinary user")
	}
	h := newFakeHost(t, brokenKVM)
	if err := os.Chmod(h.kvm, 0); err != nil {
		t.Fatal(err)
	}
	_, err := h.driver(t, accelAuto, "digest").Capabilities(t.Context())
	var denied *PermissionError
	if !errors.As(err, &denied) || !strings.Contains(denied.Remedy(), "usermod -aG kvm") || !strings.Contains(denied.Remedy(), "STEAD_ACCEL=tcg") {
		t.Errorf("Capabilities = %v, want a PermissionError with both remedies", err)
	}
}

func TestMissingQEMUIsNamed(t *testing.T) {
	d, err := New(Options{CacheDir: t.TempDir(), Binary: "qemu-that-is-not-there"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Capabilities(t.Context())
	var missing *MissingToolError
	if !errors.As(err, &missing) || missing.Tool != "qemu-that-is-not-there" || !strings.Contains(missing.Remedy(), "apt install qemu-system-") {
		t.Errorf("Capabilities = %v, want a MissingToolError", err)
	}
}

// foreign is an architecture that is not the host's.
func foreign() string { return archs()[1] }

func TestAnotherArchitectureIsEmulatedWithoutATestOfKVM(t *testing.T) {
	h := newFakeHost(t, brokenKVM)
	t.Setenv("PATH", h.dir)
	if err := os.Symlink(h.binary, filepath.Join(h.dir, platforms[foreign()].binary)); err != nil {
		t.Fatal(err)
	}
	d := h.driver(t, accelKVM, "digest") // concerns only the host's own architecture
	c := hypervisor.Config{Arch: foreign(), CPUs: 1, Memory: 1 << 30, Kernel: filepath.Join(h.dir, "vmlinuz")}
	if err := d.Validate(t.Context(), c); err != nil {
		t.Errorf("Validate = %v", err)
	}
	if v, err := d.decide(t.Context(), foreign()); err != nil || v.Accel != accelTCG {
		t.Errorf("decide = %+v, %v, want emulation", v, err)
	}
	if n := h.runs(t); n != 0 {
		t.Errorf("QEMU ran %d times, want 0", n)
	}
	c.Nested = true
	if err := d.Validate(t.Context(), c); !errors.Is(err, hypervisor.ErrUnsupported) || !strings.Contains(err.Error(), foreign()) {
		t.Errorf("with nested virtualization, Validate = %v", err)
	}
}

func TestValidateNamesWhatCannotBeEmulated(t *testing.T) {
	d := newFakeHost(t, "").driver(t, accelTCG, "digest")
	t.Setenv("PATH", t.TempDir())
	err := d.Validate(t.Context(), hypervisor.Config{Arch: foreign(), CPUs: 1, Memory: 1 << 30})
	var missing *MissingToolError
	if !errors.As(err, &missing) || missing.Tool != platforms[foreign()].binary || !strings.Contains(missing.Remedy(), platforms[foreign()].install) {
		t.Errorf("without its QEMU: %v", err)
	}
	for name, c := range map[string]hypervisor.Config{"pdp11": {Arch: "pdp11"}, "Rosetta": {Rosetta: true}} {
		if err := d.Validate(t.Context(), c); !errors.Is(err, hypervisor.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNew(t *testing.T) {
	for name, o := range map[string]Options{"no cache": {}, "unknown accelerator": {CacheDir: "/c", Accel: "warp"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(o); err == nil {
				t.Error("New succeeded")
			}
		})
	}
}

func TestNested(t *testing.T) {
	tests := map[string]struct {
		module, value string
		arch, accel   string
		want          bool
	}{
		"emulated processors can":        {arch: "amd64", accel: accelTCG, want: true},
		"Intel, switched on":             {arch: "amd64", accel: accelKVM, module: "kvm_intel", value: "Y\n", want: true},
		"AMD, switched on, old spelling": {arch: "amd64", accel: accelKVM, module: "kvm_amd", value: "1\n", want: true},
		"Intel, switched off":            {arch: "amd64", accel: accelKVM, module: "kvm_intel", value: "N\n"},
		"neither":                        {arch: "amd64", accel: accelKVM},
		"arm64":                          {arch: "arm64", accel: accelTCG},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if tt.module != "" {
				dir := filepath.Join(root, "sys/module", tt.module, "parameters")
				if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "nested"), []byte(tt.value), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			got, why := nested(root, tt.arch, tt.accel)
			if got != tt.want || got == (why != "") {
				t.Errorf("nested = %v, %q, want %v and a reason if not", got, why, tt.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := hypervisor.Config{CPUs: 1, Memory: 1 << 30, Kernel: file}
	tests := map[string]struct {
		change  func(*hypervisor.Config)
		message string // empty: valid
	}{
		"valid machine":             {change: func(*hypervisor.Config) {}},
		"too many processors":       {change: func(c *hypervisor.Config) { c.CPUs = 1000 }, message: "cpus = 1000 is more than this host offers (255)"},
		"more memory than the host": {change: func(c *hypervisor.Config) { c.Memory = 1 << 50 }, message: "is more than this host offers"},
		"too long path of the run directory": {
			change: func(c *hypervisor.Config) {
				c.RunDir, c.Shares = strings.Repeat("/x", 60), []hypervisor.Share{{Tag: "home", Path: dir}}
			},
			message: "longer than 107 bytes",
		},
	}
	d, err := New(Options{CacheDir: dir, Accel: accelTCG, Binary: "sh", ShareCommand: shareCommand})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good
			tt.change(&c)
			err := d.Validate(t.Context(), c)
			if tt.message == "" && err != nil || tt.message != "" && (err == nil || !strings.Contains(err.Error(), tt.message)) {
				t.Errorf("Validate = %v, want %q", err, tt.message)
			}
		})
	}
}

// logLines receives what is logged.
type logLines chan string

func (l logLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestWaitForATestOfAnotherProcessIsTold(t *testing.T) {
	h := newFakeHost(t, brokenKVM)
	d := h.driver(t, "", "digest")
	said := make(logLines, 4)
	d.opts.Log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := os.MkdirAll(d.opts.CacheDir, 0o700); err != nil {
		t.Fatal(err)
	}
	held := flock.New(filepath.Join(d.opts.CacheDir, "accelerator.lock"))
	if ok, err := held.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	tested := make(chan error, 1)
	go func() {
		_, err := d.testKVM(t.Context(), h.binary)
		tested <- err
	}()
	if line := <-said; !strings.Contains(line, "waiting for another stead process that tests KVM") {
		t.Errorf("logged %q", line)
	}
	if err := held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-tested; err != nil {
		t.Error(err)
	}
}
