//go:build linux

package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

	Accel  string       // "auto" (default), "kvm" or "tcg"
	Binary string       // default: the qemu-system-… for the host's processor, in PATH
	Log    *slog.Logger // default: discard
}

// Driver runs machines with QEMU.
type Driver struct {
	opts     Options
	platform platform
	kvm      string // the device

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
	p, ok := platforms[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("qemu: no machine is known for %s processors: %w", runtime.GOARCH, hypervisor.ErrUnsupported)
	}
	o.Accel = cmp.Or(o.Accel, accelAuto)
	switch o.Accel {
	case accelAuto, accelKVM, accelTCG:
	default:
		return nil, fmt.Errorf("accelerator %q (STEAD_ACCEL) is unknown: use auto, kvm or tcg", o.Accel)
	}
	o.Binary = cmp.Or(o.Binary, p.binary)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Driver{opts: o, platform: p, kvm: "/dev/kvm", signOfLife: signOfLife, hello: hello}, nil
}

// binary finds QEMU.
func (d *Driver) binary() (string, error) {
	path, err := exec.LookPath(d.opts.Binary)
	if err != nil {
		return "", &MissingToolError{Tool: d.opts.Binary, Install: d.platform.install, Err: err}
	}
	return path, nil
}

// Capabilities implements [hypervisor.Driver].
func (d *Driver) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	v, err := d.decide(ctx)
	if err != nil {
		return hypervisor.Capabilities{}, err
	}
	c := hypervisor.Capabilities{Driver: "qemu", Accelerator: v.Accel, Archs: []string{runtime.GOARCH}, MaxCPUs: maxCPUs, Warning: v.Warning}
	c.Nested, c.NestedWhy = nested("/", runtime.GOARCH, v.Accel)
	return c, nil
}

// Validate implements [hypervisor.Driver]. Fields that are still empty are not checked.
func (d *Driver) Validate(ctx context.Context, c hypervisor.Config) error {
	caps, err := d.Capabilities(ctx)
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
	v, err := d.decide(ctx)
	if err != nil {
		return nil, err
	}
	return d.start(ctx, c, v.Accel)
}

func (d *Driver) start(ctx context.Context, c hypervisor.Config, accel string) (*vm, error) {
	binary, err := d.binary()
	if err != nil {
		return nil, err
	}
	// A kernel unpacks itself slowly when emulated, so it is done here. Where it runs on
	// the processor it does so at once, and chooses its addresses at random meanwhile.
	if accel == accelTCG {
		if c.Kernel, err = kernel.Unpack(c.Kernel, filepath.Join(d.opts.CacheDir, "kernels")); err != nil {
			return nil, err
		}
	}
	return startVM(ctx, binary, hardware{Config: c, platform: d.platform, accel: accel}, d.opts)
}

// NetworkSettings implements [hypervisor.Driver]. They are those of QEMU's user network.
func (d *Driver) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{Address: "10.0.2.15/24", Gateway: "10.0.2.2", DNS: []string{"10.0.2.3"}, MTU: 1500}
}
