//go:build !linux && !darwin

package provider

import (
	"fmt"
	"runtime"

	"github.com/stead-vm/stead/provider/hypervisor"
)

func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return nil, fmt.Errorf("no hypervisor for %s: stead runs machines on linux and darwin", runtime.GOOS)
}
