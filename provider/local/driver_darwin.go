package local

import (
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/vz"
	"github.com/stead-vm/stead/provider/kernel"
)

// openKernels returns the kernel that Apple's container boots, which is for Apple silicon.
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

// openDriver runs machines with Virtualization.framework, in the supervisor's process.
func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return vz.New(vz.Options{Log: p.log}), nil
}
