//go:build linux

package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// Options for New.
type Options struct {
	CacheDir string // required: results of accelerator tests, unpacked kernels

	// ShareCommand returns the command that serves s on a Unix socket, which the command
	// creates. Required if machines have shares.
	ShareCommand func(s hypervisor.Share, socket string) *exec.Cmd

	// ProbeBoot writes an initramfs whose agent only answers (guest.Boot.Probe), and returns
	// the kernel to boot it with. If nil, KVM is used without a test.
	ProbeBoot func(ctx context.Context, w io.Writer) (kernelPath, kernelDigest string, err error)

	// SharedInodes limits how many files of its shares a guest caches, because the command that
	// serves them has a limit. Default: no limit.
	SharedInodes int

	Accel  string       // for the host's own architecture: "auto" (default), "kvm" or "tcg"; others are emulated
	Binary string       // for the host's own architecture; default: its qemu-system-… in PATH
	Log    *slog.Logger // default: discard
}

// Driver runs machines with QEMU.
type Driver struct {
	opts Options
	kvm  string // the device

	signOfLife, hello time.Duration // timeouts of the guest that tests KVM

	mu      sync.Mutex
	verdict *verdict // nil: not yet decided
}

var _ hypervisor.Driver = (*Driver)(nil)

// maxCPUs is how many processors a q35 board addresses without interrupt remapping.
const maxCPUs = 255

// New validates o and fills in defaults. It starts nothing and does not look for QEMU.
func New(o Options) (*Driver, error) {
	if o.CacheDir == "" {
		return nil, errors.New("qemu: Options.CacheDir is required")
	}
	if _, ok := platforms[runtime.GOARCH]; !ok {
		return nil, fmt.Errorf("qemu: %s hosts are %w", runtime.GOARCH, hypervisor.ErrUnsupported)
	}
	o.Accel = cmp.Or(o.Accel, accelAuto)
	switch o.Accel {
	case accelAuto, accelKVM, accelTCG:
	default:
		return nil, fmt.Errorf("unknown accelerator %q in STEAD_ACCEL: use auto, kvm or tcg", o.Accel)
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Driver{opts: o, kvm: "/dev/kvm", signOfLife: signOfLife, hello: hello}, nil
}

// binary returns the path of the QEMU for an architecture.
func (d *Driver) binary(arch string) (string, error) {
	p := platforms[arch]
	tool := p.binary
	if arch == runtime.GOARCH {
		tool = cmp.Or(d.opts.Binary, tool)
	}
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", &MissingToolError{Tool: tool, Install: p.install, Err: err}
	}
	return path, nil
}

// archOf returns the architecture of c.
func archOf(c hypervisor.Config) string { return cmp.Or(c.Arch, runtime.GOARCH) }

// archs lists the architectures that machines can have, the host's first. It includes
// those whose QEMU is not installed: a start reports that with what to install.
func archs() []string {
	others := slices.Sorted(maps.Keys(platforms))
	return append([]string{runtime.GOARCH}, slices.DeleteFunc(others, func(a string) bool { return a == runtime.GOARCH })...)
}

// Capabilities implements [hypervisor.Driver].
func (d *Driver) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	return d.capabilities(ctx, runtime.GOARCH)
}

// capabilities returns what machines of an architecture can have.
func (d *Driver) capabilities(ctx context.Context, arch string) (hypervisor.Capabilities, error) {
	v, err := d.decide(ctx, arch)
	if err != nil {
		return hypervisor.Capabilities{}, err
	}
	c := hypervisor.Capabilities{Archs: archs(), MaxCPUs: maxCPUs, SharedInodes: d.opts.SharedInodes, Warning: v.Warning}
	c.Nested, c.NestedWhy = nestedFor(arch, v.Accel)
	return c, nil
}

// Validate implements [hypervisor.Driver]. It skips fields that are still empty.
func (d *Driver) Validate(ctx context.Context, c hypervisor.Config) error {
	arch := archOf(c)
	if _, ok := platforms[arch]; !ok {
		return fmt.Errorf("qemu: machines with %s processors are %w", arch, hypervisor.ErrUnsupported)
	}
	if c.Rosetta {
		return fmt.Errorf("qemu: Rosetta is %w", hypervisor.ErrUnsupported)
	}
	caps, err := d.capabilities(ctx, arch)
	if err != nil {
		return err
	}
	var host unix.Sysinfo_t
	if err := unix.Sysinfo(&host); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	return errors.Join(
		hypervisor.Check(c, caps, int64(host.Totalram)*int64(host.Unit)),
		d.checkShareServers(c),
	)
}

// Start implements [hypervisor.Driver].
func (d *Driver) Start(ctx context.Context, c hypervisor.Config) (hypervisor.VM, error) {
	if c.Network != nil && c.Network.Packets != nil {
		defer c.Network.Packets.Close() // QEMU has its own copy
	}
	if c.Kernel == "" || c.Initrd == "" || c.RunDir == "" {
		return nil, errors.New("qemu: Config.Kernel, Initrd and RunDir are required")
	}
	if err := d.Validate(ctx, c); err != nil {
		return nil, err
	}
	v, err := d.decide(ctx, archOf(c))
	if err != nil {
		return nil, err
	}
	return d.start(ctx, c, v.Accel)
}

func (d *Driver) start(ctx context.Context, c hypervisor.Config, accel string) (*vm, error) {
	arch := archOf(c)
	binary, err := d.binary(arch)
	if err != nil {
		return nil, err
	}
	// An emulated x86 kernel unpacks itself slowly, so the host does it. Under KVM the kernel
	// unpacks itself quickly, and randomizes its addresses while it does.
	if accel == accelTCG && arch == "amd64" {
		if c.Kernel, err = kernel.Unpack(c.Kernel, filepath.Join(d.opts.CacheDir, "kernels")); err != nil {
			return nil, err
		}
	}
	return startVM(ctx, binary, hardware{Config: c, platform: platforms[arch], accel: accel}, d.opts)
}

// NetworkSettings implements [hypervisor.Driver]. It returns those of QEMU's user network.
func (d *Driver) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{Address: "10.0.2.15/24", Gateway: "10.0.2.2", DNS: []string{"10.0.2.3"}, MTU: 1500}
}
