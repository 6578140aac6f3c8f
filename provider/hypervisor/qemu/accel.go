//go:build linux

package qemu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stead-vm/stead/provider/filelock"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

const (
	// signOfLife is how long a guest under KVM may take to print its first line. A working
	// guest takes a tenth of that.
	signOfLife = 5 * time.Second
	// hello is how long a guest may take to answer on a busy host.
	hello = 20 * time.Second
	// probeMemory is enough for a kernel and an initramfs.
	probeMemory = 512 << 20
)

const (
	noKVM   = "there is no /dev/kvm on this host, so machines are emulated and several times slower; enable virtualization in its firmware (or nested virtualization, if the host is a virtual machine)"
	deadKVM = "KVM does not run guests on this host (%s), so machines are emulated and several times slower"
)

// decide chooses the accelerator for machines of an architecture. KVM runs only the
// host's own architecture, so others are emulated without a test.
func (d *Driver) decide(ctx context.Context, arch string) (verdict, error) {
	if arch != runtime.GOARCH {
		_, err := d.binary(arch)
		return verdict{Accel: accelTCG}, err
	}
	return d.decideOnce(ctx)
}

// decideOnce chooses the accelerator for the host's own architecture, once per driver.
// It does not remember a failure.
func (d *Driver) decideOnce(ctx context.Context) (verdict, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.verdict != nil {
		return *d.verdict, nil
	}
	v, err := d.choose(ctx)
	if err != nil {
		return verdict{}, err
	}
	if d.opts.Accel == accelKVM && v.Accel != accelKVM {
		return verdict{}, &AcceleratorError{Why: v.Why}
	}
	d.verdict = &v
	return v, nil
}

func (d *Driver) choose(ctx context.Context) (verdict, error) {
	binary, err := d.binary(runtime.GOARCH)
	if err != nil {
		return verdict{}, err
	}
	if d.opts.Accel == accelTCG {
		return verdict{Accel: accelTCG}, nil
	}
	kvm, err := os.OpenFile(d.kvm, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return verdict{}, &PermissionError{User: userName(), Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return verdict{Accel: accelTCG, Why: err.Error(), Warning: noKVM}, nil
	case err != nil:
		return emulated(err.Error()), nil
	}
	kvm.Close()
	if d.opts.ProbeBoot == nil {
		return verdict{Accel: accelKVM}, nil
	}
	return d.testKVM(ctx, binary)
}

func emulated(why string) verdict {
	return verdict{Accel: accelTCG, Why: why, Warning: fmt.Sprintf(deadKVM, why)}
}

func userName() string {
	u, err := user.LookupId(strconv.Itoa(os.Getuid())) // not user.Current, which may believe $USER
	if err != nil {
		return "$USER"
	}
	return u.Username
}

// testKVM answers from the cache, or boots a guest to test KVM. A lock makes two
// processes that ask at once test once.
func (d *Driver) testKVM(ctx context.Context, binary string) (verdict, error) {
	var initramfs bytes.Buffer
	kernelPath, digest, err := d.opts.ProbeBoot(ctx, &initramfs)
	if err != nil {
		return verdict{}, fmt.Errorf("prepare a guest to test KVM: %w", err)
	}
	if err := os.MkdirAll(d.opts.CacheDir, 0o700); err != nil {
		return verdict{}, err
	}
	lock := filelock.File{Path: filepath.Join(d.opts.CacheDir, "accelerator.lock"), Log: d.opts.Log}
	unlock, err := lock.Lock(ctx, "tests KVM")
	if err != nil {
		return verdict{}, fmt.Errorf("wait for another process that tests KVM: %w", err)
	}
	defer unlock()
	cache, err := openVerdicts(filepath.Join(d.opts.CacheDir, "accelerator.json"))
	if err != nil {
		return verdict{}, err
	}
	key, err := verdictKey(binary, digest)
	if err != nil {
		return verdict{}, err
	}
	if v, ok := cache.Verdicts[key]; ok {
		return v, nil
	}
	d.opts.Log.Info("testing whether KVM can run guests on this host; the result is cached")
	v := verdict{Accel: accelKVM}
	if err := d.probe(ctx, kernelPath, initramfs.Bytes()); err != nil {
		if ctx.Err() != nil {
			return verdict{}, context.Cause(ctx)
		}
		v = emulated(firstLine(err))
	}
	return v, cache.add(key, v)
}

// firstLine returns the first line of err's text.
func firstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}

// probe boots a guest under KVM and returns nil once its agent answers.
func (d *Driver) probe(ctx context.Context, kernelPath string, initramfs []byte) error {
	dir, err := os.MkdirTemp("", "stead-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var printed lifeSign
	c := hypervisor.Config{
		Name: "probe", CPUs: 1, Memory: probeMemory, RunDir: dir,
		Kernel: kernelPath, Initrd: filepath.Join(dir, "initrd"),
		Console: &printed, Cmdline: "ignore_loglevel",
	}
	if err := os.WriteFile(c.Initrd, initramfs, 0o600); err != nil {
		return err
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer time.AfterFunc(d.signOfLife, func() {
		if !printed.Load() {
			giveUp(fmt.Errorf("a test guest printed nothing within %v", d.signOfLife))
		}
	}).Stop()
	defer time.AfterFunc(d.hello, func() {
		giveUp(fmt.Errorf("a test guest began to boot but did not answer within %v", d.hello))
	}).Stop()
	m, err := d.start(ctx, c, accelKVM)
	if err != nil {
		return err
	}
	return askHello(ctx, giveUp, m)
}

// lifeSign is set by what a guest prints.
type lifeSign struct{ atomic.Bool }

func (s *lifeSign) Write(p []byte) (int, error) {
	s.Store(true)
	return len(p), nil
}

// askHello waits for the agent's answer, then kills the machine.
func askHello(ctx context.Context, giveUp context.CancelCauseFunc, m *vm) error {
	go func() {
		<-m.Done()
		giveUp(cmp.Or(m.Exit().Err, errors.New("a test guest ended before it answered")))
	}()
	client := guest.NewClient(m.Dial)
	_, err := client.Status(ctx)
	client.Close()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, m.Kill(context.WithoutCancel(ctx)))
}

// nestedFor reports whether machines of an architecture can run virtual machines, and if
// not, why.
func nestedFor(arch, accel string) (ok bool, why string) {
	if arch != runtime.GOARCH {
		return false, "the machine is for " + arch + ", which this host emulates; use an image for " + runtime.GOARCH
	}
	return nested("/", arch, accel)
}

// nested reports whether guests of the host's own architecture can run virtual machines,
// and if not, why.
func nested(root, arch, accel string) (ok bool, why string) {
	if arch != "amd64" {
		return false, "QEMU's " + arch + " machines cannot run virtual machines; use an amd64 host"
	}
	if accel == accelTCG {
		return true, "" // the emulated processor has AMD-V
	}
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		text, err := os.ReadFile(filepath.Join(root, "sys/module", module, "parameters/nested"))
		if err != nil {
			continue // another maker's processor
		}
		if value := strings.TrimSpace(string(text)); value == "Y" || value == "1" {
			return true, ""
		}
		return false, fmt.Sprintf("nested virtualization is switched off in the host's %s module; run \"echo options %s nested=1 | sudo tee /etc/modprobe.d/kvm.conf\" and restart the host", module, module)
	}
	return false, "the host's KVM does not say whether it supports nested virtualization (no nested parameter in /sys/module/kvm_intel or kvm_amd)"
}
