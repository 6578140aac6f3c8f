package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/image"
)

// processor is what a machine's kernel runs on.
type processor struct {
	arch    string // of the kernel, its modules and the agent
	rosetta bool   // the image's programs are for amd64 and translated
}

// processorFor is what a machine made of an image for platform runs on.
func processorFor(platform image.Platform, caps hypervisor.Capabilities) (processor, error) {
	switch {
	case platform.OS == "linux" && slices.Contains(caps.Archs, platform.Architecture):
		return processor{arch: platform.Architecture}, nil
	case platform.OS == "linux" && caps.Translates != "" && platform.Architecture == caps.Translates:
		return processor{arch: caps.Archs[0], rosetta: true}, nil
	}
	able := slices.Clone(caps.Archs)
	if caps.Translates != "" {
		able = append(able, caps.Translates)
	}
	return processor{}, &PlatformError{Platform: platform.String(), Able: able}
}

// checkPlatform tells whether this host can run machines of images for platform. Those for
// the host's own it can, which is known without trying what it runs them with.
func (p *Provider) checkPlatform(ctx context.Context, platform image.Platform) error {
	if host := image.HostPlatform(); platform.OS == host.OS && platform.Architecture == host.Architecture {
		return nil
	}
	caps, err := p.driver.Capabilities(ctx)
	if err == nil {
		_, err = processorFor(platform, caps)
	}
	return err
}

// PlatformError reports an image that this host cannot run machines of.
type PlatformError struct {
	Platform string
	Able     []string // architectures that it can
}

func (e *PlatformError) Error() string {
	return fmt.Sprintf("machines of this host cannot be for %s", e.Platform)
}

func (e *PlatformError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy lists what the host can run.
func (e *PlatformError) Remedy() string {
	return "choose an image for linux/" + strings.Join(e.Able, " or linux/")
}

// KernelArchError reports a kernel that a machine's processor cannot run.
type KernelArchError struct{ Path, Has, Want string }

func (e *KernelArchError) Error() string {
	return fmt.Sprintf("kernel %s is for %s, and the machine has an %s processor", e.Path, e.Has, e.Want)
}

// Remedy says which kernel to name.
func (e *KernelArchError) Remedy() string {
	return fmt.Sprintf("name a kernel for %s, or none to have the default", e.Want)
}
