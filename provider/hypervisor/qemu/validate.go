//go:build linux

package qemu

import (
	"errors"
	"fmt"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// maxSocketLen is the size of sockaddr_un's sun_path without the NUL, in bytes.
const maxSocketLen = 107

// checkShareServers reports shares that cannot be served.
func (d *Driver) checkShareServers(c hypervisor.Config) error {
	if len(c.Shares) > 0 && d.opts.ShareCommand == nil {
		return errors.New("qemu: Options.ShareCommand is required for shares")
	}
	for i := range c.Shares {
		if socket := shareSocket(c.RunDir, i); len(socket) > maxSocketLen {
			return fmt.Errorf("socket path %s is longer than %d bytes, the limit of a Unix socket", socket, maxSocketLen)
		}
	}
	return nil
}
