package provider

import (
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/kernel"
)

// openKernels has the kernel that Apple's container boots, which is for Apple silicon.
func (p *Provider) openKernels() (kernelSource, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	return fetchedKernels{
		installed: filepath.Join(home, kernel.AppleFolder), archive: kernel.Kata(),
		dir: p.kernelsDir(), images: p.images, log: p.log,
	}, nil
}
