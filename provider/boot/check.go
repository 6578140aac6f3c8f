package boot

import (
	"context"
	"errors"
	"fmt"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/machine"
)

// Check returns an error if a machine of s cannot boot on this host, as far as that can be
// known in advance. It changes nothing.
func (l *Loader) Check(ctx context.Context, s machine.Spec) error {
	cpu, caps, err := l.processorOf(ctx, s.Platform)
	if err != nil {
		return err
	}
	if err := checkNested(s.Settings, cpu, caps); err != nil {
		return err
	}
	if s.Virtualization && s.Kernel == "" && !l.Kernels.KVM() {
		return &NoVirtualizationError{
			Why:    "its default kernel has no KVM",
			Advice: "set kernel to one with CONFIG_KVM built in (kernel = \"/path/to/Image\"), or set virtualization = false",
		}
	}
	if _, err := l.Agent(cpu.arch); err != nil {
		return err
	}
	k, err := l.openKernel(s.Kernel, cpu)
	var later *kernel.NotFetchedError
	if err != nil && !errors.As(err, &later) { // checked when it is fetched
		return err
	}
	if _, err := k.Modules(needs(s.Settings, cpu, caps)); err != nil {
		return err
	}
	if _, _, err := shares(s.Settings, k); err != nil {
		return err
	}
	return l.Driver.Validate(ctx, hypervisor.Config{
		Name: s.ID, Arch: cpu.arch, Rosetta: cpu.rosetta, CPUs: s.CPUs, Memory: s.Memory, Kernel: k.Path, Nested: s.Virtualization,
	})
}

// checkNested returns an error if a machine of s needs /dev/kvm and cannot have it.
func checkNested(s machine.Settings, cpu processor, caps hypervisor.Capabilities) error {
	switch {
	case !s.Virtualization:
		return nil
	case cpu.arch != caps.Archs[0]:
		return &NoVirtualizationError{
			Why:    fmt.Sprintf("the machine is for %s, which is emulated without virtualization", cpu.arch),
			Advice: "set virtualization = false, or use an image for linux/" + caps.Archs[0],
		}
	case !caps.Nested:
		return &NoVirtualizationError{
			Why:    caps.NestedWhy,
			Advice: "use a host that supports it, or set virtualization = false",
		}
	}
	return nil
}

// NoVirtualizationError reports a machine that this host cannot give /dev/kvm.
type NoVirtualizationError struct {
	Why    string
	Advice string // what to do about it
}

func (e *NoVirtualizationError) Error() string {
	return "virtualization = true: this host cannot give a machine /dev/kvm: " + e.Why
}

func (e *NoVirtualizationError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy says how to get virtualization, or how to run the machine without it.
func (e *NoVirtualizationError) Remedy() string { return e.Advice }
