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
	CacheDir string // required: verdicts about accelerators, unpacked kernels

	// ShareCommand gives the command that serves s on the unix socket, which it makes and
	// listens on. Required when machines have shares.
	ShareCommand func(s hypervisor.Share, socket string) *exec.Cmd

	// ProbeBoot writes an initramfs whose agent only says hello (guest.Boot.Probe) and
	// names the kernel for it with its digest. Without it KVM is trusted unseen.
	ProbeBoot func(ctx context.Context, w io.Writer) (kernelPath, kernelDigest string, err error)

	Accel  string       // for the host's own processor: "auto" (default), "kvm" or "tcg"; others are emulated
	Binary string       // for the host's own processor; default: its qemu-system-…, in PATH
	Log    *slog.Logger // default: discard
}

// Driver runs machines with QEMU.
type Driver struct {
	opts Options
	kvm  string // the device

	signOfLife, hello time.Duration // patience with a guest that proves KVM

	mu      sync.Mutex
	verdict *verdict // nil: not decided yet
}

var _ hypervisor.Driver = (*Driver)(nil)

// maxCPUs is what a q35 board addresses without interrupt remapping.
const maxCPUs = 255

// New validates o and fills defaults. It starts nothing, and QEMU may be missing still.
func New(o Options) (*Driver, error) {
	if o.CacheDir == "" {
		return nil, errors.New("qemu: Options.CacheDir is required")
	}
	if _, ok := platforms[runtime.GOARCH]; !ok {
		return nil, fmt.Errorf("qemu: no machine is known for %s processors: %w", runtime.GOARCH, hypervisor.ErrUnsupported)
	}
	o.Accel = cmp.Or(o.Accel, accelAuto)
	switch o.Accel {
	case accelAuto, accelKVM, accelTCG:
	default:
		return nil, fmt.Errorf("accelerator %q (STEAD_ACCEL) is unknown: use auto, kvm or tcg", o.Accel)
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Driver{opts: o, kvm: "/dev/kvm", signOfLife: signOfLife, hello: hello}, nil
}

// binary finds the QEMU for an architecture.
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

// archOf is the processor of c.
func archOf(c hypervisor.Config) string { return cmp.Or(c.Arch, runtime.GOARCH) }

// archs lists the processors that machines can have, the host's first. Those whose QEMU
// is missing are among them: that is found when one is wanted, and said with what to
// install.
func archs() []string {
	others := slices.Sorted(maps.Keys(platforms))
	return append([]string{runtime.GOARCH}, slices.DeleteFunc(others, func(a string) bool { return a == runtime.GOARCH })...)
}

// Capabilities implements [hypervisor.Driver].
func (d *Driver) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	return d.capabilities(ctx, runtime.GOARCH)
}

// capabilities is what machines with a processor can be given.
func (d *Driver) capabilities(ctx context.Context, arch string) (hypervisor.Capabilities, error) {
	v, err := d.decide(ctx, arch)
	if err != nil {
		return hypervisor.Capabilities{}, err
	}
	c := hypervisor.Capabilities{Archs: archs(), MaxCPUs: maxCPUs, Warning: v.Warning}
	c.Nested, c.NestedWhy = nestedFor(arch, v.Accel)
	return c, nil
}

// Validate implements [hypervisor.Driver]. Fields that are still empty are not checked.
func (d *Driver) Validate(ctx context.Context, c hypervisor.Config) error {
	arch := archOf(c)
	if _, ok := platforms[arch]; !ok {
		return fmt.Errorf("qemu: machines with %s processors are %w", arch, hypervisor.ErrUnsupported)
	}
	if c.Rosetta {
		return fmt.Errorf("qemu: Apple's translator of programs is %w", hypervisor.ErrUnsupported)
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
		defer c.Network.Packets.Close() // QEMU has its own copy then
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
	// An x86 kernel unpacks itself slowly when emulated, so it is done here. Where it runs
	// on the processor it does so at once, and chooses its addresses at random meanwhile.
	if accel == accelTCG && arch == "amd64" {
		if c.Kernel, err = kernel.Unpack(c.Kernel, filepath.Join(d.opts.CacheDir, "kernels")); err != nil {
			return nil, err
		}
	}
	return startVM(ctx, binary, hardware{Config: c, platform: platforms[arch], accel: accel}, d.opts)
}

// NetworkSettings implements [hypervisor.Driver]. They are those of QEMU's user network.
func (d *Driver) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{Address: "10.0.2.15/24", Gateway: "10.0.2.2", DNS: []string{"10.0.2.3"}, MTU: 1500}
}
