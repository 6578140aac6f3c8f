package local

import (
	"context"
	"io"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/qemu"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/share"
)

// openKernels returns the default kernels: those that are installed on the host.
func (p *Provider) openKernels() (kernel.Defaults, error) { return kernel.HostDefaults{}, nil }

// openDriver returns the driver for QEMU. This program, re-executed, serves its shares.
func (p *Provider) openDriver() (hypervisor.Driver, error) {
	return qemu.New(qemu.Options{
		CacheDir:     p.cacheDir(),
		ShareCommand: p.shareCommand,
		SharedInodes: share.SharedInodes,
		ProbeBoot:    p.probeBoot,
		Accel:        p.opts.Accel,
		Log:          p.log,
	})
}

func (p *Provider) shareCommand(s hypervisor.Share, socket string) *exec.Cmd {
	args := []string{"serve-share", "--dir", s.Path, "--socket", socket, "--report", strconv.Itoa(qemu.ShareReportFD)}
	if s.ReadOnly {
		args = append(args, "--read-only")
	}
	return exec.Command(p.opts.Exe, args...)
}

// probeBoot writes an initramfs whose agent only reports that it runs, to test an accelerator
// with the host's kernel.
func (p *Provider) probeBoot(_ context.Context, w io.Writer) (path, digest string, err error) {
	k, err := kernel.Host(runtime.GOARCH)
	if err != nil {
		return "", "", err
	}
	if digest, err = k.Digest(); err != nil {
		return "", "", err
	}
	modules, err := k.Modules(kernel.Needs{})
	if err != nil {
		return "", "", err
	}
	agent, err := p.Loader.Program(k.Arch)
	if err != nil {
		return "", "", err
	}
	return k.Path, digest, kernel.Initramfs(w, kernel.InitramfsOptions{
		Agent: agent, Boot: guest.Boot{Probe: true}, Kernel: k, Modules: modules,
	})
}
