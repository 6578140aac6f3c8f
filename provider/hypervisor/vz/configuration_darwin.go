package vz

import (
	"errors"
	"fmt"

	"github.com/Code-Hex/vz/v3"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// builder creates the framework's configuration of a machine. It keeps a reference to
// every part until the framework has copied the whole: vz's wrappers release what they
// wrap when they are garbage-collected, which may be in the middle of a call.
type builder struct {
	serial *serial
	parts  []any
}

func (b *builder) keep(part any) { b.parts = append(b.parts, part) }

// configuration converts c and lets the framework validate it.
func (b *builder) configuration(c hypervisor.Config) (*vz.VirtualMachineConfiguration, error) {
	loader, err := vz.NewLinuxBootLoader(c.Kernel, vz.WithInitrd(c.Initrd), vz.WithCommandLine(commandLine(c.Cmdline)))
	if err != nil {
		return nil, refused("load the kernel", err)
	}
	b.keep(loader)
	conf, err := vz.NewVirtualMachineConfiguration(loader, uint(c.CPUs), wholeMebibytes(c.Memory))
	if err != nil {
		return nil, refused("configure the machine", err)
	}
	for _, add := range []func(*vz.VirtualMachineConfiguration, hypervisor.Config) error{
		b.platform, b.disks, b.shares, b.network, b.console, b.devices,
	} {
		if err := add(conf, c); err != nil {
			return nil, err
		}
	}
	ok, err := conf.Validate()
	if err == nil && !ok {
		err = errors.New("the framework gave no reason")
	}
	if err != nil {
		return nil, refused("check the machine", err)
	}
	return conf, nil
}

// platform sets the machine's identifier and nested virtualization.
func (b *builder) platform(conf *vz.VirtualMachineConfiguration, c hypervisor.Config) error {
	id, err := identifier(c.Identity)
	if err != nil {
		return err
	}
	board, err := vz.NewGenericPlatformConfiguration(vz.WithGenericMachineIdentifier(id))
	if err != nil {
		return refused("configure the machine's platform", err)
	}
	b.keep(board)
	if c.Nested {
		if err := board.SetNestedVirtualizationEnabled(true); err != nil {
			return refused("enable nested virtualization", err)
		}
	}
	conf.SetPlatformVirtualMachineConfiguration(board)
	return nil
}

// identifier returns the machine's stored identifier, or creates and stores one.
func identifier(path string) (*vz.GenericMachineIdentifier, error) {
	id, err := storedIdentifier(path)
	if id != nil || err != nil {
		return id, err
	}
	if id, err = vz.NewGenericMachineIdentifier(); err != nil {
		return nil, refused("create a machine identifier", err)
	}
	return id, keepIdentity(path, id.DataRepresentation())
}

// storedIdentifier returns the identifier in the file at path, or nil if there is none.
func storedIdentifier(path string) (*vz.GenericMachineIdentifier, error) {
	data, err := readIdentity(path)
	if data == nil || err != nil {
		return nil, err
	}
	id, err := vz.NewGenericMachineIdentifierWithData(data)
	if err != nil {
		return nil, refused("read the machine identifier", err)
	}
	// For invalid data the framework returns nil, which vz wraps without an error.
	if len(id.DataRepresentation()) == 0 {
		return nil, &IdentityError{Path: path}
	}
	return id, nil
}

// disks uses the host's page cache, and the guest's flushes reach the host's disk. The
// framework's automatic caching mode corrupted ext4, and uncached disks are slow.
func (b *builder) disks(conf *vz.VirtualMachineConfiguration, c hypervisor.Config) error {
	var devices []vz.StorageDeviceConfiguration
	for _, d := range c.Disks {
		file, err := vz.NewDiskImageStorageDeviceAttachmentWithCacheAndSync(d.Path, d.ReadOnly,
			vz.DiskImageCachingModeCached, vz.DiskImageSynchronizationModeFsync)
		if err != nil {
			return refused("attach disk "+d.Path, err)
		}
		b.keep(file)
		device, err := vz.NewVirtioBlockDeviceConfiguration(file)
		if err != nil {
			return refused("attach disk "+d.Path, err)
		}
		b.keep(device)
		if d.Serial != "" {
			if err := device.SetBlockDeviceIdentifier(d.Serial); err != nil {
				return refused("set the serial of disk "+d.Path, err)
			}
		}
		devices = append(devices, device)
	}
	conf.SetStorageDevicesVirtualMachineConfiguration(devices)
	return nil
}

// shares adds a virtiofs device for each share. The host enforces ReadOnly.
func (b *builder) shares(conf *vz.VirtualMachineConfiguration, c hypervisor.Config) error {
	var devices []vz.DirectorySharingDeviceConfiguration
	for _, s := range c.Shares {
		directory, err := vz.NewSharedDirectory(s.Path, s.ReadOnly)
		if err != nil {
			return refused("share "+s.Path, err)
		}
		b.keep(directory)
		single, err := vz.NewSingleDirectoryShare(directory)
		if err != nil {
			return refused("share "+s.Path, err)
		}
		device, err := b.share(s.Tag, single)
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	if c.Rosetta {
		translator, err := rosettaShare()
		if err != nil {
			return err
		}
		device, err := b.share(guest.RosettaTag, translator)
		if err != nil {
			return err
		}
		devices = append(devices, device)
	}
	conf.SetDirectorySharingDevicesVirtualMachineConfiguration(devices)
	return nil
}

// share returns a virtiofs device that offers what under tag.
func (b *builder) share(tag string, what vz.DirectoryShare) (*vz.VirtioFileSystemDeviceConfiguration, error) {
	b.keep(what)
	device, err := vz.NewVirtioFileSystemDeviceConfiguration(tag)
	if err != nil {
		return nil, refused(fmt.Sprintf("share under the tag %q", tag), err)
	}
	b.keep(device)
	device.SetDirectoryShare(what)
	return device, nil
}
