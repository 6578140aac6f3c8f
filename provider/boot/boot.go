// Package boot prepares what a machine boots with: its kernel and initramfs, its shares, and
// its virtual hardware. It reads the bundle and the host, and starts nothing.
package boot

import (
	"bufio"
	"context"
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/supervisor"
	"github.com/stead-vm/stead/provider/transfer"
)

// Tags of the shares of every machine.
const (
	homeTag    = "home"
	modulesTag = "modules"
)

// Loader prepares boots from bundles.
type Loader struct {
	Driver  hypervisor.Driver
	Kernels kernel.Defaults                  // for machines that do not set kernel
	Agent   func(arch string) (Agent, error) // embedded.Find
}

// Agent is the guest's program.
type Agent interface {
	Program() ([]byte, error)
}

// Program returns the agent for guests of the architecture.
func (l *Loader) Program(arch string) ([]byte, error) {
	a, err := l.Agent(arch)
	if err != nil {
		return nil, err
	}
	return a.Program()
}

// FetchKernel downloads the kernel of s if it is missing.
func (l *Loader) FetchKernel(ctx context.Context, s machine.Spec, progress transfer.Progress) error {
	if s.Kernel != "" {
		return nil
	}
	cpu, _, err := l.processorOf(ctx, s.Platform)
	if err != nil {
		return err
	}
	return l.Kernels.Fetch(ctx, cpu.arch, progress)
}

// openKernel returns the machine's own kernel, else the host's default for its processor.
func (l *Loader) openKernel(path string, cpu processor) (kernel.Kernel, error) {
	if path == "" {
		return l.Kernels.Find(cpu.arch)
	}
	k, err := kernel.Open(path)
	if err == nil && k.Arch != cpu.arch {
		err = &KernelArchError{Path: path, Has: k.Arch, Want: cpu.arch}
	}
	return k, err
}

// Prepare turns a bundle into one boot, whose sockets are made in runDir, and records the
// settings that the machine boots with.
func (l *Loader) Prepare(ctx context.Context, b bundle.Bundle, runDir string) (supervisor.Boot, error) {
	r, err := b.Record()
	if err != nil {
		return supervisor.Boot{}, err
	}
	s, err := b.Settings()
	if err != nil {
		return supervisor.Boot{}, err
	}
	cpu, caps, err := l.processorOf(ctx, r.Spec(s).Platform)
	if err != nil {
		return supervisor.Boot{}, err
	}
	k, err := l.openKernel(s.Kernel, cpu)
	if err != nil {
		return supervisor.Boot{}, err
	}
	shares, mounts, err := shares(s, k)
	if err != nil {
		return supervisor.Boot{}, err
	}
	if err := b.GrowDisk(s.Disk); err != nil {
		return supervisor.Boot{}, err
	}
	agentKey, client, err := guest.NewKeys()
	if err != nil {
		return supervisor.Boot{}, err
	}
	settings := guestBoot(r, s, mounts, l.Driver.NetworkSettings())
	if settings.Groups, err = groups(r, s); err != nil {
		return supervisor.Boot{}, err
	}
	settings.Rosetta, settings.SharedInodes = cpu.rosetta, caps.SharedInodes
	settings.HostKey, settings.ClientKey = agentKey.Private, client.Public
	initrd := b.Path(bundle.InitrdFile)
	if err := l.writeInitramfs(initrd, k, needs(s, cpu, caps), settings); err != nil {
		return supervisor.Boot{}, err
	}
	boot := supervisor.Boot{
		Config: hypervisor.Config{
			Name: r.Configuration.ID, Arch: cpu.arch, Rosetta: cpu.rosetta, Identity: b.Path(bundle.IdentityFile), CPUs: s.CPUs, Memory: s.Memory,
			Kernel: k.Path, Initrd: initrd,
			Disks:   []hypervisor.Disk{{Path: b.Path(bundle.DiskFile), Serial: guest.RootSerial}},
			Shares:  shares,
			Network: &hypervisor.Network{MAC: macFor(b.Dir)},
			Nested:  s.Virtualization,
			RunDir:  runDir,
		},
		Services: s.Services,
	}
	if boot.ClientKey, err = client.Signer(); err != nil {
		return supervisor.Boot{}, err
	}
	if boot.HostKey, err = agentKey.PublicKey(); err != nil {
		return supervisor.Boot{}, err
	}
	return boot, b.MarkBooted(s, r.Configuration.UserSetup.Username)
}

// needs returns the features that a machine needs from its kernel.
func needs(s machine.Settings, cpu processor, caps hypervisor.Capabilities) kernel.Needs {
	return kernel.Needs{Shares: true, Network: true, Nested: s.Virtualization, Vsock: caps.Vsock, Rosetta: cpu.rosetta}
}

// shares returns the host directories of a machine and their places in the guest: the
// home at the host's own path, and the kernel's modules where modprobe looks for them.
func shares(s machine.Settings, k kernel.Kernel) ([]hypervisor.Share, []guest.Mount, error) {
	var shares []hypervisor.Share
	var mounts []guest.Mount
	if s.HomeMount != machine.HomeNone {
		home, err := host.Home()
		if err != nil {
			return nil, nil, err
		}
		readOnly := s.HomeMount == machine.HomeReadOnly
		shares = append(shares, hypervisor.Share{Tag: homeTag, Path: home, ReadOnly: readOnly})
		mounts = append(mounts, guest.Mount{Tag: homeTag, Target: home, ReadOnly: readOnly})
	}
	if k.ModuleTree != "" {
		shares = append(shares, hypervisor.Share{Tag: modulesTag, Path: k.ModuleTree, ReadOnly: true})
		mounts = append(mounts, guest.Mount{Tag: modulesTag, Target: filepath.Join("/lib/modules", k.Release), ReadOnly: true})
	}
	return shares, mounts, nil
}

// groups returns the host's groups that the machine's user has, too, to use the files of the home
// that belong to them. Root needs none.
func groups(r bundle.Record, s machine.Settings) ([]guest.Group, error) {
	if s.HomeMount == machine.HomeNone || r.Configuration.UserSetup.UID == 0 {
		return nil, nil
	}
	have, err := host.Groups()
	var groups []guest.Group
	for _, g := range have {
		if g.GID != r.Configuration.UserSetup.GID {
			groups = append(groups, guest.Group(g))
		}
	}
	return groups, err
}

// guestBoot returns the agent's settings, without the boot's keys.
func guestBoot(r bundle.Record, s machine.Settings, mounts []guest.Mount, n hypervisor.NetworkSettings) guest.Boot {
	user := r.Configuration.UserSetup
	return guest.Boot{
		Machine:    r.CreatedDate.UTC().Format(time.RFC3339Nano),
		Hostname:   r.Configuration.ID,
		Time:       time.Now(),
		User:       guest.User{Name: user.Username, UID: user.UID, GID: user.GID},
		Mounts:     mounts,
		Network:    &guest.Network{DHCP: n.DHCP, Address: n.Address, Gateway: n.Gateway, DNS: n.DNS, MTU: n.MTU},
		Env:        r.Stead.Env,
		StopSignal: r.Stead.StopSignal,
		Nested:     s.Virtualization,
	}
}

// writeInitramfs writes the boot's initramfs to path. It holds the boot's keys.
func (l *Loader) writeInitramfs(path string, k kernel.Kernel, n kernel.Needs, boot guest.Boot) error {
	modules, err := k.Modules(n)
	if err != nil {
		return err
	}
	agent, err := l.Program(k.Arch)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = kernel.Initramfs(w, kernel.InitramfsOptions{Agent: agent, Boot: boot, Kernel: k, Modules: modules})
	if err == nil {
		err = w.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return space.Explain(err, filepath.Dir(path))
}

// macFor returns a machine's stable, locally administered MAC address.
func macFor(dir string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(dir))
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}
}
