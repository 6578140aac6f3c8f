// Package machine defines the values that describe a machine: what a project wants ([Spec]) and
// what a provider found ([Machine]). The engine and providers exchange only these values. The
// package does no I/O.
package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"
)

// HomeMount says how a machine mounts the host's home directory.
type HomeMount string

// Values of HomeMount, as boot-config.json spells them.
const (
	HomeReadWrite HomeMount = "rw"
	HomeReadOnly  HomeMount = "ro"
	HomeNone      HomeMount = "none"
)

// Limits of settings, in bytes.
const (
	MinMemory = 1 * size.GiB  // Apple's limit
	MinDisk   = 64 * size.MiB // a journal and some files
)

// Settings are the contents of boot-config.json: everything about a machine that can change.
// They apply when the machine boots. Only Services can be applied while it runs, and sessions
// read NoSSHAgent when they begin.
type Settings struct {
	CPUs           int
	Memory         int64  // bytes
	Disk           int64  // bytes; may grow, never shrink
	Kernel         string // absolute path; empty: the newest usable kernel of the host
	Virtualization bool   // the guest has /dev/kvm
	HomeMount      HomeMount
	NoSSHAgent     bool     // sessions cannot use the user's SSH agent
	Services       []string // enabled and started by the image's init, in this order
}

// Check returns an error for each invalid setting.
func (s Settings) Check() error {
	var errs []error
	if s.CPUs < 1 {
		errs = append(errs, fmt.Errorf("cpus must be at least 1, not %d", s.CPUs))
	}
	if s.Memory < MinMemory {
		errs = append(errs, fmt.Errorf("memory must be at least %s, not %s", size.Setting(MinMemory), size.Setting(s.Memory)))
	}
	if s.Disk < MinDisk {
		errs = append(errs, fmt.Errorf("disk must be at least %s, not %s", size.Setting(MinDisk), size.Setting(s.Disk)))
	}
	switch s.HomeMount {
	case HomeReadWrite, HomeReadOnly, HomeNone:
	default:
		errs = append(errs, fmt.Errorf("home mount must be rw, ro or none, not %q", s.HomeMount))
	}
	return errors.Join(errs...)
}

// Spec is a machine as a project or a user wants it.
type Spec struct {
	ID       string // matches [ValidID]
	Image    string // the reference as written
	Digest   string // what the reference means now: "sha256:…" of the image's manifest for this platform; empty: not built yet
	Build    *Build // how the image is built; nil: not built from sources, or unknown
	Platform platform.Platform
	User     User
	Owner    Owner
	Settings

	PreventDestroy bool // plans must not lose its disk
}

// Baseline is how a project's last apply left a machine.
type Baseline struct {
	Spec
	Stopped bool
	Created time.Time // of the machine
}

// Build is how a project's image is built from sources.
type Build struct {
	Context    string // absolute path of the directory
	Dockerfile string // absolute path; empty: the one in Context
	Target     string // the stage to build; empty: the last one
	Args       map[string]string

	// The paths above with their links resolved, each only if it leads out of the directory of
	// the project file. Plans name them.
	OutsideContext    string
	OutsideDockerfile string
}

// State is the current state of a machine.
type State uint8

// States of a machine.
const (
	Absent      State = iota // not on this host; the zero value
	Stopped                  // exists, without a process
	Booting                  // a supervisor runs, but the agent has not answered yet
	Running                  // the agent has answered
	Unreachable              // the agent has answered, but no longer does
	Paused                   // its hypervisor has stopped its processors; Machine.Problem says why
	Stopping                 // its supervisor is shutting it down
	Broken                   // its files cannot be read; Machine.Problem says why
	numStates
)

func (s State) String() string {
	if s < numStates {
		return [...]string{"absent", "stopped", "booting", "running", "unreachable", "paused", "stopping", "broken"}[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Machine is the state of a machine on a host.
type Machine struct {
	Spec
	State     State
	Problem   string    // what is wrong with it, or why it did not end in good order; may have several lines
	Booted    *Settings // the settings it was booted with; nil unless Active
	BootedAs  string    // the name of the user it was booted with; empty: unknown
	Created   time.Time
	OwnerGone bool      // the owner's file does not exist any more
	Started   time.Time // zero unless Active
	Heard     time.Time // when the agent last answered; zero unless Active and if it never did
	Address   string    // IP, empty unless known
	DiskSize  int64     // bytes; current size of the disk, which may be less than Disk until the next start; 0: unknown
	DiskUsed  int64     // bytes that the disk occupies on the host
	Default   bool      // commands without a machine name use this machine
}

// Active reports whether the machine has a process.
func (m *Machine) Active() bool {
	switch m.State {
	case Booting, Running, Unreachable, Paused, Stopping:
		return true
	case Absent, Stopped, Broken, numStates:
	}
	return false
}
