package kernel

import (
	"context"

	"github.com/stead-vm/stead/provider/transfer"
)

// Defaults are the kernels of machines that name none.
type Defaults interface {
	// Find returns the kernel for an architecture. One that is not on this host but can be
	// fetched is a [*NotFetchedError].
	Find(arch string) (Kernel, error)
	// Fetch makes sure that Find has a kernel, and the newest if it can be had. It may
	// take minutes, so it is for commands that a user watches.
	Fetch(ctx context.Context, arch string, progress transfer.Progress) error
	// KVM is false where the kernels have KVM neither built in nor as a module, as is
	// known before there is one. Where it is true, a kernel's modules decide.
	KVM() bool
}
