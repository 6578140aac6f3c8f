package kernel

import (
	"context"

	"github.com/stead-vm/stead/provider/transfer"
)

// HostDefaults are the kernels that the host has installed for itself.
type HostDefaults struct{}

// Find implements [Defaults].
func (HostDefaults) Find(arch string) (Kernel, error) { return Host(arch) }

// Fetch does nothing: the distribution's packages are the user's to install.
func (HostDefaults) Fetch(context.Context, string, transfer.Progress) error { return nil }

// KVM is true: distributions have it, mostly as a module.
func (HostDefaults) KVM() bool { return true }
