// Package guest is what host and guest say to each other.
//
// Both sides import it: the supervisor to talk, the agent (package agent
// beneath) to answer. The host always dials. Port [ControlPort] speaks HTTP with
// JSON, port [SSHPort] speaks SSH.
package guest

import "time"

// Ports of the agent.
const (
	SSHPort     = 22
	ControlPort = 80
)

// AgentPortName names the virtio-serial port that carries the port multiplexer
// where the hypervisor has no vsock for us.
const AgentPortName = "stead.agent"

// BootPath is where the initramfs holds the [Boot] of this start.
const BootPath = "/stead/boot.json"

// ModulesDir is where the initramfs holds kernel modules; the file "order" in it
// lists them, one path relative to ModulesDir a line, in loading order.
const ModulesDir = "/stead/modules"

// RootSerial is the serial of the block device that holds the machine's root.
const RootSerial = "stead-root"

// RosettaTag is the virtiofs tag under which Virtualization.framework shares Apple's
// translator of amd64 programs. The program in it is called "rosetta".
const RosettaTag = "rosetta"

// Boot tells the agent how to bring this machine up. It is made anew for each boot.
type Boot struct {
	// Probe makes the agent answer on ControlPort from the initramfs and do nothing
	// else: it proves that an accelerator runs guests.
	Probe bool `json:"probe,omitempty"`

	Hostname string    `json:"hostname"`
	Time     time.Time `json:"time"` // the host's clock; steps the guest's if that is off
	User     User      `json:"user"`
	Mounts   []Mount   `json:"mounts,omitempty"`
	Network  *Network  `json:"network,omitempty"`

	// SharedInodes is how many files of its mounts the guest should keep known at most,
	// those in use aside. 0: as many as it likes.
	SharedInodes int `json:"sharedInodes,omitempty"`

	// HostKey is the agent's SSH private key (OpenSSH PEM), ClientKey the one public
	// key it accepts (authorized_keys form). The host makes both for each boot.
	HostKey   string `json:"hostKey"`
	ClientKey string `json:"clientKey"`

	Env        []string `json:"env,omitempty"`        // the image's environment, for sessions
	StopSignal string   `json:"stopSignal,omitempty"` // the image's, "SIGRTMIN+3"; for an init of unknown kind, the others have their own
	Nested     bool     `json:"nested,omitempty"`     // load the kernel's kvm modules and check for /dev/kvm
	Rosetta    bool     `json:"rosetta,omitempty"`    // amd64 programs are run by the translator shared under [RosettaTag]
}

// User is who you are inside. UID 0 means root itself and creates nobody.
type User struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// Mount is a virtiofs share and its place in the guest.
type Mount struct {
	Tag      string `json:"tag"`
	Target   string `json:"target"` // absolute; created when missing
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Network is the set-up of the guest's first network card.
type Network struct {
	DHCP    bool     `json:"dhcp,omitempty"`    // ask for the rest, and keep asking for as long as the machine runs
	Address string   `json:"address,omitempty"` // CIDR
	Gateway string   `json:"gateway,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	MTU     int      `json:"mtu,omitempty"` // bytes; 0: the device's default
}

// Reserved names of SSH "env" requests. They direct a session and are not passed on.
const (
	EnvUser = "STEAD_USER" // user name to run as; default Boot.User
	EnvUID  = "STEAD_UID"  // numeric uid to run as; wins over EnvUser
	EnvGID  = "STEAD_GID"  // numeric gid: the primary one beside EnvUID, one more group otherwise
	EnvCwd  = "STEAD_CWD"  // working directory; default the user's home; a missing one is an error
)

// Status is the answer to GET /v1/status.
type Status struct {
	Ready     bool   `json:"ready"`               // the user exists and init was started
	Init      string `json:"init"`                // "systemd", "openrc", "busybox", "sysvinit", "agent" (image without one), "unknown"
	InitState string `json:"initState,omitempty"` // systemd: starting, running, degraded, …; OpenRC: the runlevel
	Error     string `json:"error,omitempty"`     // why the machine cannot become ready
	Address   string `json:"address,omitempty"`   // IP of the network card
	Hello     Hello  `json:"hello"`
}

// Hello says who answers.
type Hello struct {
	Release string `json:"release"` // of the running kernel
	Version string `json:"version"` // of the agent
	BootID  string `json:"bootId"`  // /proc/sys/kernel/random/boot_id
}

// Services is the body of PUT /v1/services: the whole wanted list. Services that an
// earlier list had and this one has not are stopped and disabled.
type Services struct {
	Want []string `json:"want"`
}

// ServiceState is one element of the answer to PUT /v1/services.
type ServiceState struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Error  string `json:"error,omitempty"` // what the init said
}

// Shutdown is the body of POST /v1/shutdown. The answer comes before the machine goes.
type Shutdown struct {
	Reboot bool `json:"reboot,omitempty"`
}

// Clock is the body of PUT /v1/clock.
type Clock struct {
	Time time.Time `json:"time"`
}
