package vz

import (
	"github.com/Code-Hex/vz/v3"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// network is the machine's one card, on a wire of packets or on the framework's NAT. vz
// makes no copy of a wire's descriptor: the machine holds the file until it is gone.
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
		return refused("name the network card", err)
	}
	b.keep(address)
	card.SetMACAddress(address)
	conf.SetNetworkDevicesVirtualMachineConfiguration([]*vz.VirtioNetworkDeviceConfiguration{card})
	return nil
}

// console appends what the guest prints to its log.
func (b *builder) console(conf *vz.VirtualMachineConfiguration, c hypervisor.Config) error {
	if c.ConsoleLog == "" {
		return nil
	}
	file, err := vz.NewFileSerialPortAttachment(c.ConsoleLog, true)
	if err != nil {
		return refused("open the console log", err)
	}
	b.keep(file)
	port, err := vz.NewVirtioConsoleDeviceSerialPortConfiguration(file)
	if err != nil {
		return refused("attach the console", err)
	}
	b.keep(port)
	conf.SetSerialPortsVirtualMachineConfiguration([]*vz.VirtioConsoleDeviceSerialPortConfiguration{port})
	return nil
}

// devices are those that every machine has: the way to the agent, randomness, and a
// balloon for the day when the framework gives memory back. Whoever then asks the running
// machine for its balloon has to ask once and keep the answer for ever: vz v3.7.1 releases
// it once more than it was given it.
func (b *builder) devices(conf *vz.VirtualMachineConfiguration, _ hypervisor.Config) error {
	agent, err := vz.NewVirtioSocketDeviceConfiguration()
	if err != nil {
		return refused("attach the agent's socket", err)
	}
	b.keep(agent)
	entropy, err := vz.NewVirtioEntropyDeviceConfiguration()
	if err != nil {
		return refused("attach the source of randomness", err)
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
