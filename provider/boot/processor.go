package boot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/platform"
)

// processor describes the virtual processor of a machine.
type processor struct {
	arch    string // of the kernel, its modules and the agent
	rosetta bool   // the image's amd64 programs are translated
}

// processorFor returns the processor for an image of the platform want.
func processorFor(want platform.Platform, caps hypervisor.Capabilities) (processor, error) {
	switch {
	case want.OS == "linux" && slices.Contains(caps.Archs, want.Architecture):
		return processor{arch: want.Architecture}, nil
	case want.OS == "linux" && caps.Translates != "" && want.Architecture == caps.Translates:
		return processor{arch: caps.Archs[0], rosetta: true}, nil
	}
	able := slices.Clone(caps.Archs)
	if caps.Translates != "" {
		able = append(able, caps.Translates)
	}
	return processor{}, &PlatformError{Platform: want.String(), Able: able}
}

// CheckPlatform reports whether this host can run machines of images for want. It does not
// try the hypervisor for the host's own platform, which always works.
func (l *Loader) CheckPlatform(ctx context.Context, want platform.Platform) error {
	if host := platform.Host(); want.OS == host.OS && want.Architecture == host.Architecture {
		return nil
	}
	_, _, err := l.processorOf(ctx, want)
	return err
}

// SpeedWarning returns a warning to show before a machine for want starts, if it is slow on
// this host, or "".
func (l *Loader) SpeedWarning(ctx context.Context, want platform.Platform) (string, error) {
	caps, err := l.Driver.Capabilities(ctx)
	if err != nil {
		return "", err
	}
	return caps.WarningFor(want.Architecture), nil
}

// processorOf returns the processor for an image of the platform want, and the capabilities
// of this host.
func (l *Loader) processorOf(ctx context.Context, want platform.Platform) (processor, hypervisor.Capabilities, error) {
	caps, err := l.Driver.Capabilities(ctx)
	if err != nil {
		return processor{}, caps, err
	}
	cpu, err := processorFor(want, caps)
	return cpu, caps, err
}

// PlatformError reports an image that this host cannot run machines of.
type PlatformError struct {
	Platform string
	Able     []string // architectures that the host can run
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("this host cannot run machines for %s", e.Platform)
}

func (e *PlatformError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy lists what the host can run.
func (e *PlatformError) Remedy() string {
	return "choose an image for linux/" + strings.Join(e.Able, " or linux/")
}

// KernelArchError reports a kernel that a machine's processor cannot run.
type KernelArchError struct{ Path, Has, Want string }

func (e *KernelArchError) Error() string {
	return fmt.Sprintf("kernel %s is for %s, but the machine is for %s", e.Path, e.Has, e.Want)
}

// Remedy says which kernel to set.
func (e *KernelArchError) Remedy() string {
	return fmt.Sprintf("set kernel to one for %s, or leave it out for the default", e.Want)
}
