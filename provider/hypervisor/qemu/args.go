//go:build linux

package qemu

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// Values of Options.Accel and of a verdict.
const (
	accelAuto = "auto"
	accelKVM  = "kvm"
	accelTCG  = "tcg"
)

// platform holds the differences between the supported architectures.
type platform struct {
	binary  string
	install string
	machine string // board, with its unneeded default devices switched off
	console string // the guest kernel's name of the first serial port
	hide    string // -cpu properties that remove nested virtualization
	emulate string // -cpu properties that make emulation faster
	cmdline string // kernel parameters, only when emulated
}

// platforms is keyed by Go's name of the architecture.
var platforms = map[string]platform{
	"amd64": {
		binary:  "qemu-system-x86_64",
		install: "apt install qemu-system-x86",
		machine: "q35,vmport=off,smbus=off,sata=off,smm=off,usb=off",
		console: "ttyS0",
		hide:    ",svm=off,vmx=off",
		// The kernel's test of its timer interrupt panics when a busy host emulates the
		// timer late.
		cmdline: "no_timer_check",
	},
	"arm64": {
		binary:  "qemu-system-aarch64",
		install: "apt install qemu-system-arm",
		machine: "virt,gic-version=max",
		console: "ttyAMA0",
		// Every function call signs a pointer. QEMU's own algorithm is so much faster to
		// emulate than the architected cipher that a boot takes a fraction of the time.
		emulate: ",pauth-impdef=on",
	},
}

// hardware is the machine of one QEMU process. The numbers are descriptors of connected
// sockets that the process inherits.
type hardware struct {
	hypervisor.Config
	platform platform
	accel    string
	monitor  int
	agent    int
	console  int
	packets  int   // of Config.Network.Packets, if that is set
	shares   []int // in the order of Config.Shares
}

// arguments returns QEMU's command line for h.
func arguments(h hardware) []string {
	a := args{
		"-no-user-config", "-nodefaults", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		// A reset ends QEMU, so that each boot gets its own settings and keys.
		"-action", "reboot=shutdown",
	}
	a.add("-name", "guest="+escape(h.Name), "debug-threads=on")
	a.processor(h)
	a.memory(h)
	a.add("-kernel", h.Kernel)
	a.add("-initrd", h.Initrd)
	a.add("-append", kernelCmdline(h))

	a.add("-chardev", "socket,id=monitor,fd="+strconv.Itoa(h.monitor))
	a.add("-mon", "chardev=monitor,mode=control")
	a.add("-chardev", "socket,id=console,fd="+strconv.Itoa(h.console))
	a.add("-serial", "chardev:console")
	a.device("virtio-serial-pci", "max_ports=2")
	a.add("-chardev", "socket,id=agent,fd="+strconv.Itoa(h.agent))
	a.add("-device", "virtserialport,chardev=agent,name="+guest.AgentPortName)
	a.device("virtio-rng-pci")
	a.device("virtio-balloon-pci", "free-page-reporting=on", "deflate-on-oom=on")
	a.disks(h.Disks)
	for i, s := range h.Shares {
		a.add("-chardev", fmt.Sprintf("socket,id=share%d,fd=%d", i, h.shares[i]))
		a.add("-device", fmt.Sprintf("vhost-user-fs-pci,chardev=share%d,queue-size=1024,tag=%s", i, escape(s.Tag)))
	}
	if h.Network != nil {
		if h.Network.Packets != nil {
			a.add("-netdev", "dgram,id=net,local.type=fd,local.str="+strconv.Itoa(h.packets))
		} else {
			// QEMU would offer the guest IPv6 even if the host has none.
			a.add("-netdev", "user,id=net,ipv6=off")
		}
		a.device("virtio-net-pci", "netdev=net", "mac="+h.Network.MAC.String(), "romfile=")
	}
	return a
}

// args is a command line under construction.
type args []string

// add appends an option with its comma-separated values.
func (a *args) add(option string, values ...string) {
	*a = append(*a, option, strings.Join(values, ","))
}

// device adds a virtio device without the registers for drivers older than virtio 1.0.
func (a *args) device(name string, properties ...string) {
	a.add("-device", append([]string{name, "disable-legacy=on"}, properties...)...)
}

func (a *args) processor(h hardware) {
	cpu := "max"
	if h.accel == accelKVM {
		cpu = "host"
		a.add("-accel", accelKVM)
	} else {
		cpu += h.platform.emulate
		a.add("-accel", accelTCG, "thread=multi")
	}
	if !h.Nested {
		cpu += h.platform.hide
	}
	a.add("-cpu", cpu)
	a.add("-smp", strconv.Itoa(h.CPUs))
}

// memory makes the guest's memory a file that the file servers can map, if there are
// shares. Core dumps of QEMU omit it.
func (a *args) memory(h hardware) {
	size := strconv.FormatInt(h.Memory>>20, 10) + "M"
	machine := []string{h.platform.machine, "dump-guest-core=off"}
	a.add("-m", size)
	if len(h.Shares) > 0 {
		a.add("-object", "memory-backend-memfd,id=memory,share=on,size="+size)
		machine = append(machine, "memory-backend=memory")
	}
	a.add("-machine", machine...)
}

// diskName is the name of a machine's i-th disk in QEMU.
func diskName(i int) string { return fmt.Sprintf("disk%d", i) }

// disks uses the host's page cache and honours the guest's flushes: what the guest has
// synced is on the host's disk. Blocks that the guest discards are freed in the host's
// file. If the host cannot write, the machine is paused: most guests would take an error for
// the end of their disk, although a full disk or quota passes.
func (a *args) disks(disks []hypervisor.Disk) {
	for i, d := range disks {
		id := diskName(i)
		readOnly := "off"
		if d.ReadOnly {
			readOnly = "on"
		}
		a.add("-drive", "if=none", "id="+id, "format=raw", "cache=writeback", "discard=unmap",
			"read-only="+readOnly, "file="+escape(d.Path))
		properties := []string{"drive=" + id, "werror=stop"}
		if d.Serial != "" {
			properties = append(properties, "serial="+escape(d.Serial))
		}
		a.device("virtio-blk-pci", properties...)
	}
}

// kernelCmdline puts the caller's parameters last: if a parameter occurs twice, the
// kernel uses the later one.
func kernelCmdline(h hardware) string {
	words := []string{
		"console=" + h.platform.console, "quiet",
		"panic=-1",          // reset at once, which ends QEMU
		"cryptomgr.notests", // the ciphers' self-tests take a sixth of an emulated boot
	}
	if h.accel == accelTCG {
		words = append(words, h.platform.cmdline)
	}
	return strings.Join(strings.Fields(strings.Join(append(words, h.Cmdline), " ")), " ")
}

// escape quotes a value for a comma-separated option.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }
