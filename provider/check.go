package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

// Check reports everything that would keep a machine of s from being made or booted on
// this host, as far as it can be known before. It changes nothing.
func (p *Provider) Check(ctx context.Context, s Spec) error {
	if !ValidID(s.ID) {
		return &InvalidIDError{ID: s.ID}
	}
	if err := s.Settings.Check(); err != nil {
		return err
	}
	if s.Build != nil && s.Digest == "" {
		if _, err := build.Find(ctx, p.opts.Builder); err != nil {
			return err
		}
	}
	cpu, caps, err := p.processorOf(ctx, s)
	if err != nil {
		return err
	}
	if err := checkNested(s.Settings, cpu, caps); err != nil {
		return err
	}
	if s.Virtualization && s.Kernel == "" && !p.kernels.kvm() {
		return &NoVirtualizationError{
			Why:    "its default kernel is built without KVM",
			advice: "name a kernel with CONFIG_KVM built in (kernel = \"/path/to/Image\"), or set virtualization = false",
		}
	}
	if _, err := p.agent(cpu.arch); err != nil {
		return err
	}
	k, err := p.openKernel(s.Kernel, cpu)
	var later *kernel.NotFetchedError
	if err != nil && !errors.As(err, &later) { // what will be fetched needs no check now
		return err
	}
	if _, err := k.Modules(needs(s.Settings, cpu, caps)); err != nil {
		return err
	}
	if _, _, err := shares(s.Settings, k); err != nil {
		return err
	}
	return p.driver.Validate(ctx, hypervisor.Config{
		Name: s.ID, Arch: cpu.arch, Rosetta: cpu.rosetta, CPUs: s.CPUs, Memory: s.Memory, Kernel: k.Path, Nested: s.Virtualization,
	})
}

// processorOf is what a machine of s runs on, and on what host.
func (p *Provider) processorOf(ctx context.Context, s Spec) (processor, hypervisor.Capabilities, error) {
	platform, err := image.ParsePlatform(s.Platform)
	if err != nil {
		return processor{}, hypervisor.Capabilities{}, err
	}
	caps, err := p.driver.Capabilities(ctx)
	if err != nil {
		return processor{}, caps, err
	}
	cpu, err := processorFor(platform, caps)
	return cpu, caps, err
}

// checkNested refuses /dev/kvm where a machine cannot have it.
func checkNested(s Settings, cpu processor, caps hypervisor.Capabilities) error {
	switch {
	case !s.Virtualization:
		return nil
	case cpu.arch != caps.Archs[0]:
		return &NoVirtualizationError{
			Why:    fmt.Sprintf("it is for %s, which is emulated without what virtual machines need", cpu.arch),
			advice: "set virtualization = false, or use an image for linux/" + caps.Archs[0],
		}
	case !caps.Nested:
		return &NoVirtualizationError{
			Why:    caps.NestedWhy,
			advice: "use a host that can, or set virtualization = false",
		}
	}
	return nil
}

// NoVirtualizationError reports a machine that this host cannot give /dev/kvm.
type NoVirtualizationError struct {
	Why    string
	advice string
}

func (e *NoVirtualizationError) Error() string {
	return "virtualization = true: this host cannot give a machine /dev/kvm: " + e.Why
}

func (e *NoVirtualizationError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy says how to go on without it.
func (e *NoVirtualizationError) Remedy() string { return e.advice }
