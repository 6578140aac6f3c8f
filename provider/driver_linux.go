package provider

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/qemu"
	"github.com/stead-vm/stead/provider/kernel"
)

// openDriver runs machines with QEMU, and their shares with this program re-executed.
func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return qemu.New(qemu.Options{
		CacheDir:     filepath.Join(p.opts.Home, "cache"),
		ShareCommand: p.shareCommand,
		ProbeBoot:    p.probeBoot,
		Accel:        p.opts.Accel,
		Log:          p.log,
	})
}

func (p *Provider) shareCommand(s hypervisor.Share, socket string) *exec.Cmd {
	args := []string{"serve-share", "--dir", s.Path, "--socket", socket}
	if s.ReadOnly {
		args = append(args, "--read-only")
	}
	return exec.Command(p.opts.Exe, args...)
}
