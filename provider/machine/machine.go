// Package machine holds the values that describe a machine: what a project wants
// ([Spec]), what a provider found ([Machine]), and how the two are told apart. It is all
// that the engine and every provider say to each other, and it does no I/O.
package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"
)

// HomeMount says how the host's home folder appears in a machine.
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

// Settings is what boot-config.json holds: all that may change during a machine's
// life. A machine boots with them; only Services apply while it runs.
type Settings struct {
	CPUs           int
	Memory         int64  // bytes
	Disk           int64  // bytes; may grow, never shrink
	Kernel         string // absolute path; empty: the newest usable kernel of the host
	Virtualization bool   // the guest has /dev/kvm
	HomeMount      HomeMount
	Services       []string // enabled and started by the image's init, in this order
}

// Check reports every setting that no machine can have.
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

// User is the machine's user: the host's user at the time of creation.
type User struct {
	Name     string
	UID, GID int
}

// Spec is a machine as a project or a user wants it.
type Spec struct {
	ID       string // matches [ValidID]
	Image    string // the reference as written
	Digest   string // what the reference means now: "sha256:…" of the image's manifest for this platform; empty: not built yet
	Build    *Build // how the image is built; nil: it is not, or that is unknown
	Platform platform.Platform
	User     User
	Owner    Owner
	Settings

	PreventDestroy bool // its disk must not be lost by a plan
}

// Baseline is how a project's last apply left a machine.
type Baseline struct {
	Spec
	Stopped bool
	Created time.Time // of the machine
}

// Build is how a project's image is built from sources.
type Build struct {
	Context    string // absolute path of the folder
	Dockerfile string // absolute path; empty: the one in Context
	Target     string // the stage to build; empty: the last one
	Args       map[string]string
}

// State is what a machine does at the moment.
type State uint8

// States of a machine.
const (
	Absent  State = iota // nothing on this host; the zero value
	Stopped              // disk exists, no process
	Booting              // a supervisor works on it, the agent has not answered yet
	Running              // the agent answered
	Broken               // its files cannot be read; Machine.Problem says why
	numStates
)

func (s State) String() string {
	if s < numStates {
		return [...]string{"absent", "stopped", "booting", "running", "broken"}[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Machine is a machine as it was found.
type Machine struct {
	Spec
	State     State
	Problem   string    // when Broken: what is wrong with it
	Booted    *Settings // what it runs with; nil unless Booting or Running
	Created   time.Time
	OwnerGone bool      // the owner's file is not there any more
	Started   time.Time // zero unless Booting or Running
	Address   string    // IP, empty unless known
	DiskSize  int64     // bytes of the disk as it is; Disk may be more until the next start; 0: unknown
	DiskUsed  int64     // bytes that the disk really occupies on the host
	Default   bool      // commands without a name mean this one
}
