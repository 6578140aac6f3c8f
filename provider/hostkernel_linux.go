package provider

import (
	"context"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

// openKernels has the kernels that the host has installed for itself.
func (p *Provider) openKernels() (kernelSource, error) { return hostKernels{}, nil }

type hostKernels struct{}

func (hostKernels) find(arch string) (kernel.Kernel, error) { return kernel.Host(arch) }

// fetch does nothing: packages of the distribution are its user's.
func (hostKernels) fetch(context.Context, string, image.Progress) error { return nil }

// kvm is true: distributions have it, as a module mostly.
func (hostKernels) kvm() bool { return true }
