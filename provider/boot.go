package provider

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// openKernel is the machine's own kernel, else the host's default for its processor.
func (p *Provider) openKernel(path string, cpu processor) (kernel.Kernel, error) {
	if path == "" {
		return p.kernels.find(cpu.arch)
	}
	k, err := kernel.Open(path)
	if err == nil && k.Arch != cpu.arch {
		err = &KernelArchError{Path: path, Has: k.Arch, Want: cpu.arch}
	}
	return k, err
}

// needs are what a machine needs of its kernel.
func needs(s Settings, cpu processor, caps hypervisor.Capabilities) kernel.Needs {
	return kernel.Needs{Shares: true, Network: true, Nested: s.Virtualization, Vsock: caps.Vsock, Rosetta: cpu.rosetta}
}

// shares are the host folders of a machine and their places in the guest: the home at
// the host's own path, and the kernel's modules where modprobe looks for them.
func shares(s Settings, k kernel.Kernel) ([]hypervisor.Share, []guest.Mount, error) {
	var shares []hypervisor.Share
	var mounts []guest.Mount
	if s.HomeMount != HomeNone {
		home, err := HostHome()
		if err != nil {
			return nil, nil, err
		}
		readOnly := s.HomeMount == HomeReadOnly
		shares = append(shares, hypervisor.Share{Tag: homeTag, Path: home, ReadOnly: readOnly})
		mounts = append(mounts, guest.Mount{Tag: homeTag, Target: home, ReadOnly: readOnly})
	}
	if k.ModuleTree != "" {
		shares = append(shares, hypervisor.Share{Tag: modulesTag, Path: k.ModuleTree, ReadOnly: true})
		mounts = append(mounts, guest.Mount{Tag: modulesTag, Target: filepath.Join("/lib/modules", k.Release), ReadOnly: true})
	}
	return shares, mounts, nil
}

// guestBoot is what the agent is told, but for the boot's keys.
func guestBoot(r record, s Settings, mounts []guest.Mount, n hypervisor.NetworkSettings) guest.Boot {
	user := r.Configuration.UserSetup
	return guest.Boot{
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
func (p *Provider) writeInitramfs(path string, k kernel.Kernel, n kernel.Needs, boot guest.Boot) error {
	modules, err := k.Modules(n)
	if err != nil {
		return err
	}
	agent, err := p.guestProgram(k.Arch)
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
	return diskFull(err, filepath.Dir(path))
}

// growDisk makes the disk file at least size bytes; the agent grows the file system
// into it. A disk never shrinks.
func (b bundle) growDisk(size int64) error {
	info, err := os.Stat(b.path(diskFile))
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if info.Size() >= size {
		return nil
	}
	return os.Truncate(b.path(diskFile), size)
}

// macFor is a machine's stable, locally administered MAC address.
func macFor(dir string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(dir))
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}
}
