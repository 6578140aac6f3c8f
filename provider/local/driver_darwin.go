package local

import (
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/vz"
	"github.com/stead-vm/stead/provider/kernel"
)

// openKernels returns the default kernel: the one of Apple's container, for Apple silicon.
func (p *Provider) openKernels() (kernel.Defaults, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	return kernel.FetchedDefaults{
		Installed: filepath.Join(home, kernel.AppleFolder), Archive: kernel.Kata(),
		Dir: p.kernelsDir(), Downloads: p.Images, Log: p.log,
	}, nil
}

// openDriver returns the driver for Virtualization.framework, which runs in the supervisor.
func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return vz.New(vz.Options{Log: p.log}), nil
}
