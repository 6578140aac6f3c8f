//go:build !linux

package provider

import (
	"fmt"
	"runtime"

	"github.com/stead-vm/stead/provider/hypervisor"
)

func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return nil, fmt.Errorf("no hypervisor for %s yet: stead runs machines on linux", runtime.GOOS)
}
