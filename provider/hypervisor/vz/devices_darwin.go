package vz

import (
	"github.com/Code-Hex/vz/v3"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// network adds the network card, attached to Network.Packets or to the framework's NAT.
// vz does not duplicate the descriptor of Packets: the machine keeps the file open.
func (b *builder) network(conf *vz.VirtualMachineConfiguration, c hypervisor.Config) error {
	if c.Network == nil {
		return nil
	}
	var wire vz.NetworkDeviceAttachment
	var err error
	if c.Network.Packets != nil {
		wire, err = vz.NewFileHandleNetworkDeviceAttachment(c.Network.Packets)
	} else {
		wire, err = vz.NewNATNetworkDeviceAttachment()
	}
	if err != nil {
		return refused("attach the network", err)
	}
	b.keep(wire)
	card, err := vz.NewVirtioNetworkDeviceConfiguration(wire)
	if err != nil {
		return refused("attach the network", err)
	}
	b.keep(card)
	address, err := vz.NewMACAddress(c.Network.MAC)
	if err != nil {
		return refused("set the MAC address", err)
	}
	b.keep(address)
	card.SetMACAddress(address)
	conf.SetNetworkDevicesVirtualMachineConfiguration([]*vz.VirtioNetworkDeviceConfiguration{card})
	return nil
}

// console adds the console. vz does not duplicate descriptors: the machine keeps the files open.
func (b *builder) console(conf *vz.VirtualMachineConfiguration, _ hypervisor.Config) error {
	ends, err := vz.NewFileHandleSerialPortAttachment(b.serial.input, b.serial.output)
	if err != nil {
		return refused("attach the console", err)
	}
	b.keep(ends)
	port, err := vz.NewVirtioConsoleDeviceSerialPortConfiguration(ends)
	if err != nil {
		return refused("attach the console", err)
	}
	b.keep(port)
	conf.SetSerialPortsVirtualMachineConfiguration([]*vz.VirtioConsoleDeviceSerialPortConfiguration{port})
	return nil
}

// devices adds the devices that every machine has: a vsock for the agent, entropy, and a
// memory balloon for when the framework can return memory. Code that gets the balloon of
// the running machine must get it once and keep it: vz v3.7.1 over-releases the object.
func (b *builder) devices(conf *vz.VirtualMachineConfiguration, _ hypervisor.Config) error {
	agent, err := vz.NewVirtioSocketDeviceConfiguration()
	if err != nil {
		return refused("attach the socket device", err)
	}
	b.keep(agent)
	entropy, err := vz.NewVirtioEntropyDeviceConfiguration()
	if err != nil {
		return refused("attach the entropy device", err)
	}
	b.keep(entropy)
	balloon, err := vz.NewVirtioTraditionalMemoryBalloonDeviceConfiguration()
	if err != nil {
		return refused("attach the memory balloon", err)
	}
	b.keep(balloon)
	conf.SetSocketDevicesVirtualMachineConfiguration([]vz.SocketDeviceConfiguration{agent})
	conf.SetEntropyDevicesVirtualMachineConfiguration([]*vz.VirtioEntropyDeviceConfiguration{entropy})
	conf.SetMemoryBalloonDevicesVirtualMachineConfiguration([]vz.MemoryBalloonDeviceConfiguration{balloon})
	return nil
}
