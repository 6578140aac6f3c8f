// Package guest defines the protocol between host and guest.
//
// Both sides import it: the supervisor as the client, the agent (package agent) as the
// server. The host always dials. Port [ControlPort] speaks HTTP with JSON, port [SSHPort]
// speaks SSH.
package guest

import (
	"time"

	"github.com/stead-vm/stead/provider/fault"
)

// Ports of the agent.
const (
	SSHPort     = 22
	ControlPort = 80
)

// AgentPortName is the name of the virtio-serial port that carries the port multiplexer
// if the hypervisor offers no vsock.
const AgentPortName = "stead.agent"

// BootPath is the initramfs's file with this boot's [Boot].
const BootPath = "/stead/boot.json"

// ModulesDir is the initramfs's directory of kernel modules. Its file "order" lists them
// in loading order, one path relative to ModulesDir per line.
const ModulesDir = "/stead/modules"

// RootSerial is the serial of the block device with the machine's root file system.
const RootSerial = "stead-root"

// RosettaTag is the virtiofs tag under which Virtualization.framework shares Rosetta. The
// program in the share is called "rosetta".
const RosettaTag = "rosetta"

// Boot holds the settings with which the agent boots this machine. The host creates a new one
// for each boot.
type Boot struct {
	// Probe makes the agent only answer on ControlPort from the initramfs, to test an
	// accelerator.
	Probe bool `json:"probe,omitempty"`

	// Machine tells this machine from all others, and a disk from its clones. It stays the same
	// when the machine is renamed.
	Machine string `json:"machine,omitempty"`

	Hostname string    `json:"hostname"`
	Time     time.Time `json:"time"` // the host's clock; the agent sets the guest's if that is off
	User     User      `json:"user"`
	Groups   []Group   `json:"groups,omitempty"` // the user's supplementary groups on the host, whose files the mounts have
	Mounts   []Mount   `json:"mounts,omitempty"`
	Network  *Network  `json:"network,omitempty"`

	// SharedInodes is how many files of its mounts the guest should cache at most, not
	// counting those in use. 0: no limit.
	SharedInodes int `json:"sharedInodes,omitempty"`

	// HostKey is the agent's SSH private key (OpenSSH PEM). ClientKey is the only public
	// key that it accepts (authorized_keys form). The host creates both for each boot.
	HostKey   string `json:"hostKey"`
	ClientKey string `json:"clientKey"`

	Env        []string `json:"env,omitempty"`        // the image's environment, for sessions
	StopSignal string   `json:"stopSignal,omitempty"` // the image's, "SIGRTMIN+3"; used only for an init of unknown kind
	Nested     bool     `json:"nested,omitempty"`     // load the kernel's kvm modules and check for /dev/kvm
	Rosetta    bool     `json:"rosetta,omitempty"`    // run amd64 programs with the Rosetta shared under [RosettaTag]
}

// User is the machine's default user. UID 0 means root; the agent then creates no user.
type User struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// Group is a group of the host. Its number decides; the guest may know it under another name.
type Group struct {
	Name string `json:"name,omitempty"` // empty: unknown
	GID  int    `json:"gid"`
}

// Mount is a virtiofs share and its mount point in the guest.
type Mount struct {
	Tag      string `json:"tag"`
	Target   string `json:"target"` // absolute; created if missing
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Network holds the settings of the guest's first network card.
type Network struct {
	DHCP    bool     `json:"dhcp,omitempty"`    // get the other settings by DHCP, and renew the lease
	Address string   `json:"address,omitempty"` // CIDR
	Gateway string   `json:"gateway,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	MTU     int      `json:"mtu,omitempty"` // bytes; 0: the device's default
}

// Reserved names of SSH "env" requests. They configure a session and are not passed to its
// process.
const (
	EnvUser = "STEAD_USER" // user name to run as; default Boot.User
	EnvUID  = "STEAD_UID"  // numeric uid to run as; overrides EnvUser
	EnvGID  = "STEAD_GID"  // numeric gid: the primary group with EnvUID, otherwise an additional one
	EnvCwd  = "STEAD_CWD"  // working directory, which must exist; default: the user's home

	// EnvDetach, with any value, starts the program without a terminal and with its streams at
	// /dev/null. The session ends with status 0 as soon as the program runs.
	EnvDetach = "STEAD_DETACH"

	// EnvProgress is the width of the client's terminal in columns, if standard error leads to one.
	// What the session waits for is then shown in a line that goes away, on standard error.
	EnvProgress = "STEAD_PROGRESS"
)

// Status is the answer to GET /v1/status.
type Status struct {
	Ready     bool        `json:"ready"`               // the user exists and init was started
	Init      string      `json:"init"`                // "systemd", "openrc", "busybox", "sysvinit", "agent" (image without one), "unknown"
	InitState string      `json:"initState,omitempty"` // systemd: starting, running, degraded, …; OpenRC: the runlevel
	Fault     *fault.Wire `json:"fault,omitempty"`     // why the machine cannot become ready
	Address   string      `json:"address,omitempty"`   // IP address of the network card
	Disk      *Disk       `json:"disk,omitempty"`      // the root file system; nil if that is unknown
	Hello     Hello       `json:"hello"`
}

// Disk is how much room a file system has, for users other than root.
type Disk struct {
	Size       int64  `json:"size"` // bytes
	Free       int64  `json:"free"` // bytes
	FreeInodes uint64 `json:"freeInodes"`
}

// Hello identifies the agent and its boot.
type Hello struct {
	Release string `json:"release"` // of the running kernel
	Version string `json:"version"` // of the agent
	BootID  string `json:"bootId"`  // /proc/sys/kernel/random/boot_id
}

// Services is the body of PUT /v1/services: the complete list. Services of an earlier list
// that are not in this one are stopped and disabled.
type Services struct {
	Want []string `json:"want"`
}

// ServiceState is one element of the answer to PUT /v1/services.
type ServiceState struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Error  string `json:"error,omitempty"` // the init's error message
}

// Shutdown is the body of POST /v1/shutdown. The agent answers before the machine ends.
type Shutdown struct {
	Reboot bool `json:"reboot,omitempty"`
}

// Clock is the body of PUT /v1/clock.
type Clock struct {
	Time time.Time `json:"time"`
}
