// Package hypervisor describes one virtual machine and who can run it.
//
// A [Driver] turns a [Config] into a running [VM]. The drivers are the folders
// beneath: qemu on Linux, vz on macOS. Callers know this package only, so that
// what is above it is the same on both systems.
package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/stead-vm/stead/provider/doctor"
)

// ErrUnsupported marks a feature that this driver or host does not have.
var ErrUnsupported = errors.New("not supported here")

// Disk is a raw disk image attached as a virtio block device.
type Disk struct {
	Path     string
	ReadOnly bool
	Serial   string // at most 20 ASCII bytes; the guest reads it from /sys/block/*/serial
}

// Share is a host folder that the guest can mount as virtiofs under Tag.
type Share struct {
	Tag      string // at most 36 bytes
	Path     string
	ReadOnly bool // enforced on the host's side
}

// Network is the machine's one network card.
type Network struct {
	MAC     net.HardwareAddr // required, stable over the machine's life
	Packets *os.File         // what it is attached to: one end of [PacketPair], which Start takes and closes; nil: the driver's NAT
}

// Config is everything a machine boots with.
type Config struct {
	Name       string // for messages and process lists
	Arch       string // of the kernel, as Go spells it; empty: the host's
	Rosetta    bool   // the guest can mount Apple's translator under the tag guest.RosettaTag
	Identity   string // file that keeps what a hypervisor knows this machine by; made when missing
	CPUs       int
	Memory     int64 // bytes
	Kernel     string
	Initrd     string
	Cmdline    string // the driver adds what its own hardware needs (console, timer quirks)
	Disks      []Disk
	Shares     []Share
	Network    *Network // nil: no network
	ConsoleLog string   // appended to
	Nested     bool     // the guest gets /dev/kvm
	RunDir     string   // short path for sockets; exists, mode 0700, removed by the caller
}

// Capabilities is what the driver can do on this host.
type Capabilities struct {
	Archs      []string // of the kernels that guests can have, as Go spells them; the host's first
	Translates string   // architecture whose programs run on kernels of the host's by Rosetta; empty: none
	Vsock      bool     // the agent is dialled over vsock, for which the guest's kernel needs a transport
	Nested     bool
	NestedWhy  string // set when Nested is false: the reason and what to do
	MaxCPUs    int
	// SharedInodes is how many files of its shares a guest should keep known, because
	// the host holds each of them open. 0: as many as it likes.
	SharedInodes int
	Warning      string // one line a user should see, such as why emulation is used; may be empty
}

// WarningFor is the one line that a user should see before a machine with a processor
// starts, or "". What the host emulates is slow whatever accelerator it has.
func (c Capabilities) WarningFor(arch string) string {
	if i := slices.Index(c.Archs, arch); i > 0 {
		return fmt.Sprintf("the machine is for %s, which this host (%s) emulates: it is several times slower than one for %s", arch, c.Archs[0], c.Archs[0])
	}
	return c.Warning
}

// Driver runs machines. Its methods are safe for concurrent use.
type Driver interface {
	// Capabilities reports what the host offers. The first call on a host may take
	// seconds (an accelerator is proven by booting on it); later ones answer from a cache.
	Capabilities(ctx context.Context) (Capabilities, error)
	// Validate checks all that can be checked without starting, and has no side effects.
	Validate(ctx context.Context, c Config) error
	// Start boots c and returns once the virtual hardware runs; the guest may need longer.
	Start(ctx context.Context, c Config) (VM, error)
	// NetworkSettings is what the guest must configure on its card.
	NetworkSettings() NetworkSettings
	// Examine looks at what the driver needs of the host. Like Capabilities it may take
	// seconds the first time.
	Examine(ctx context.Context) []doctor.Finding
}

// NetworkSettings are the settings of the guest's network card.
type NetworkSettings struct {
	DHCP    bool     // the guest asks for the rest
	Address string   // CIDR, "10.0.2.15/24"
	Gateway string   // "10.0.2.2"
	DNS     []string // "10.0.2.3"
	MTU     int
}

// VM is one running machine.
type VM interface {
	// Dial opens a stream to a port of the agent in the guest. Before the guest
	// listens it blocks until ctx ends. The stream has no half-close.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	// PowerButton asks the guest to shut down; it may ignore that.
	PowerButton(ctx context.Context) error
	// Kill cuts the power and returns once the machine is gone. It is idempotent.
	Kill(ctx context.Context) error
	// Done is closed when the machine is gone, for whatever reason.
	Done() <-chan struct{}
	// Exit tells why the machine is gone. Call it after Done is closed.
	Exit() Exit
	// PID is the process that runs the machine, 0 when it is the caller's own.
	PID() int
}

// Reason is why a machine ended.
type Reason uint8

// Reasons for a machine's end.
const (
	PoweredOff Reason = iota // the guest switched itself off, or the power button did
	Rebooted                 // the guest asked for a reset: start it again to boot it
	Killed                   // Kill was called
	Crashed                  // the virtual machine failed; Exit.Err says how
	numReasons
)

func (r Reason) String() string {
	if r < numReasons {
		return [...]string{"powered off", "rebooted", "killed", "crashed"}[r]
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Exit is how a machine ended.
type Exit struct {
	Reason Reason
	Err    error // set when Reason is Crashed
}
