package provider

import (
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/vz"
)

// openDriver runs machines with Virtualization.framework, in the supervisor's process.
func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return vz.New(vz.Options{Log: p.log}), nil
}
