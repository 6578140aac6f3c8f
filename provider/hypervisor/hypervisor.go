// Package hypervisor describes a virtual machine and the drivers that run one.
//
// A [Driver] turns a [Config] into a running [VM]. The drivers are the subpackages:
// qemu on Linux, vz on macOS. Callers depend on this package only, so their code is
// the same on both systems.
package hypervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Share is a host directory that the guest can mount as virtiofs under Tag.
type Share struct {
	Tag      string // at most 36 bytes
	Path     string
	ReadOnly bool // enforced by the host
}

// Network is the machine's one network card.
type Network struct {
	MAC     net.HardwareAddr // required, stable over the machine's life
	Packets *os.File         // one end of [PacketPair], which Start takes over and closes; nil: the driver's NAT
}

// Config is everything a machine boots with.
type Config struct {
	Name     string // for messages and process lists
	Arch     string // of the kernel, as Go spells it; empty: the host's
	Rosetta  bool   // the guest can mount Apple's Rosetta under the tag guest.RosettaTag
	Identity string // file that holds the hypervisor's identifier of this machine; created if missing
	CPUs     int
	Memory   int64 // bytes
	Kernel   string
	Initrd   string
	Cmdline  string // the driver adds what its own hardware needs (console, timer quirks)
	Disks    []Disk
	Shares   []Share
	Network  *Network // nil: no network
	// Console takes what the guest prints. Its Write may block, and then the guest's console
	// waits. nil: it is discarded.
	Console io.Writer
	Nested  bool   // the guest gets /dev/kvm
	RunDir  string // short path for sockets; must exist with mode 0700; the caller removes it
}

// Capabilities describes what the driver can do on this host.
type Capabilities struct {
	Archs      []string // architectures of guest kernels, as Go spells them; the host's first
	Translates string   // architecture whose programs Rosetta runs on a kernel of the host's; empty: none
	Vsock      bool     // the agent is dialled over vsock; the guest's kernel needs a transport for that
	Nested     bool
	NestedWhy  string // set if Nested is false: "REASON; WHAT TO DO"
	MaxCPUs    int
	// SharedInodes limits how many files of its shares a guest should cache, because the
	// host keeps memory or an open descriptor for each. 0: no limit.
	SharedInodes int
	Warning      string // one line to show the user, such as why emulation is used; may be empty
}

// WarningFor returns one line to show the user before a machine of this architecture
// starts, or "". An emulated architecture is slow whatever accelerator the host has.
func (c Capabilities) WarningFor(arch string) string {
	if i := slices.Index(c.Archs, arch); i > 0 {
		return fmt.Sprintf("the machine is for %s, which this host (%s) emulates: it is several times slower than one for %s", arch, c.Archs[0], c.Archs[0])
	}
	return c.Warning
}

// Driver runs machines. Its methods are safe for concurrent use.
type Driver interface {
	// Capabilities reports what the host offers. The first call on a host may take
	// seconds, because the driver boots a guest to test an accelerator; later calls answer
	// from a cache.
	Capabilities(ctx context.Context) (Capabilities, error)
	// Validate checks everything that can be checked without a start. It has no side effects.
	Validate(ctx context.Context, c Config) error
	// Start boots c and returns once the virtual hardware runs. The guest may need longer.
	Start(ctx context.Context, c Config) (VM, error)
	// NetworkSettings returns what the guest must configure on its network card.
	NetworkSettings() NetworkSettings
	// Examine reports on what the driver needs of the host. Like Capabilities, the first
	// call may take seconds.
	Examine(ctx context.Context) []doctor.Finding
}

// NetworkSettings are the settings of the guest's network card.
type NetworkSettings struct {
	DHCP    bool     // the guest gets the other settings by DHCP
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
	// PowerButton asks the guest to shut down. The guest may ignore it.
	PowerButton(ctx context.Context) error
	// Kill cuts the power and returns once the machine is gone. It is idempotent.
	Kill(ctx context.Context) error
	// Done returns a channel that is closed when the machine has ended, for any reason.
	Done() <-chan struct{}
	// Exit returns how the machine ended. Call it after Done is closed.
	Exit() Exit
	// Paused returns why the hypervisor has stopped the guest's processors, a [DiskError], or
	// nil while they run.
	Paused() error
	// Resume lets the processors of a paused machine run again. The guest repeats what failed.
	Resume(ctx context.Context) error
	// PID returns the process that runs the machine, or 0 if that is the caller's own.
	PID() int
}

// Reason is why a machine ended.
type Reason uint8

// Reasons for a machine's end.
const (
	PoweredOff Reason = iota // the guest switched itself off, or the power button did
	Rebooted                 // the guest asked for a reset: start the machine again
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
	Err    error    // set when Reason is Crashed
	Last   []string // the last lines that the guest printed
}

// LastLines is how many lines an [Exit] has at most.
const LastLines = 10

// DiskError reports a machine that is paused because the host cannot write to one of its disks.
// Nothing is lost: the write is repeated when the machine is resumed.
type DiskError struct {
	Path   string // of the disk's file
	Full   bool   // the host's disk is full
	Reason string // as the host's system says it
}

func (e *DiskError) Error() string { return fmt.Sprintf("cannot write %s: %s", e.Path, e.Reason) }
