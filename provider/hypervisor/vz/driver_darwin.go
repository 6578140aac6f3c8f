package vz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"github.com/Code-Hex/vz/v3"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/hypervisor/console"
)

// Options for New.
type Options struct {
	Log *slog.Logger // default: discard
}

// Driver runs machines with Virtualization.framework, in the caller's own process.
type Driver struct {
	log *slog.Logger

	mu sync.Mutex
	// made keeps all machines of this process from the garbage collector. It would free
	// the handle through which the framework reports changes of state, and a later report
	// would crash the process.
	made []*vz.VirtualMachine
}

var _ hypervisor.Driver = (*Driver)(nil)

// New fills in defaults. It does not call the framework.
func New(o Options) *Driver {
	return &Driver{log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
}

// sharedInodes limits how many files of its shares a guest caches. The framework's
// process for a machine holds a descriptor for each of them, and has been seen with
// 230,000 (docker/desktop-feedback#218). Other programs fail when the Mac's table of open
// files is full (apple/container#1097, docker/for-mac#6783: at 57,000).
//
// The size of that table, kern.maxfiles, is 122,880 or 245,760 on most current Macs,
// depending on their memory, and was 49,152 with macOS 11. One process may use half of it
// (kern.maxfilesperproc), so at least 24,576. 20,000 is below that, lets several machines
// share the table, and is enough to cache most working trees.
const sharedInodes = 20_000

// Capabilities implements [hypervisor.Driver].
func (d *Driver) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	version, err := osVersion()
	if err != nil {
		return hypervisor.Capabilities{}, err
	}
	if err := checkVersion(version); err != nil {
		return hypervisor.Capabilities{}, err
	}
	nested := vz.IsNestedVirtualizationSupported()
	return hypervisor.Capabilities{
		Archs: []string{runtime.GOARCH}, Translates: translates,
		Vsock: true, Nested: nested, NestedWhy: nestedWhy(nested),
		MaxCPUs:      int(vz.VirtualMachineConfigurationMaximumAllowedCPUCount()),
		SharedInodes: sharedInodes,
	}, nil
}

// Validate implements [hypervisor.Driver]. It skips fields that are still empty.
func (d *Driver) Validate(ctx context.Context, c hypervisor.Config) error {
	caps, err := d.Capabilities(ctx)
	if err != nil {
		return err
	}
	_, identityErr := storedIdentifier(c.Identity)
	return errors.Join(
		hypervisor.Check(c, caps, int64(vz.VirtualMachineConfigurationMaximumAllowedMemorySize())),
		checkKernel(c.Kernel, runtime.GOARCH),
		checkRosetta(c.Rosetta, rosettaState()),
		identityErr,
		checkSigned(),
	)
}

// checkSigned reports a missing entitlement, without which the framework rejects every
// configuration. Other errors do not matter: the minimal machine here has no real kernel.
func checkSigned() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	loader, err := vz.NewLinuxBootLoader(self)
	if err != nil {
		return refused("configure a machine", err)
	}
	conf, err := vz.NewVirtualMachineConfiguration(loader,
		vz.VirtualMachineConfigurationMinimumAllowedCPUCount(), vz.VirtualMachineConfigurationMinimumAllowedMemorySize())
	if err != nil {
		return refused("configure a machine", err)
	}
	_, err = conf.Validate()
	runtime.KeepAlive(loader)
	runtime.KeepAlive(conf)
	var unsigned *EntitlementError
	if err := refused("check a machine", err); errors.As(err, &unsigned) {
		return unsigned
	}
	return nil
}

// Start implements [hypervisor.Driver]. ctx cannot interrupt the framework.
func (d *Driver) Start(ctx context.Context, c hypervisor.Config) (_ hypervisor.VM, err error) {
	m := &machine{}
	if c.Network != nil {
		m.packets = c.Network.Packets
	}
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	if c.Kernel == "" || c.Initrd == "" {
		return nil, errors.New("vz: Config.Kernel and Initrd are required")
	}
	if err := errors.Join(context.Cause(ctx), d.Validate(ctx, c)); err != nil {
		return nil, err
	}
	if m.serial, err = newSerial(); err != nil {
		return nil, err
	}
	screen := console.New(c.Console)
	go m.serial.copyTo(screen)
	if m.vm, err = d.make(c, m.serial); err != nil {
		return nil, err
	}
	if err := m.vm.Start(); err != nil {
		return nil, refused("start the machine", err)
	}
	if err := m.findAgent(); err != nil {
		return nil, err
	}
	d.log.Debug("machine started", "machine", c.Name)
	return newVM(m, screen, defaultPace), nil
}

// make creates the framework's machine and adds it to made.
func (d *Driver) make(c hypervisor.Config, s *serial) (*vz.VirtualMachine, error) {
	b := builder{serial: s}
	conf, err := b.configuration(c)
	if err != nil {
		return nil, err
	}
	made, err := vz.NewVirtualMachine(conf)
	runtime.KeepAlive(b)
	if err != nil {
		return nil, refused("create the machine", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = append(d.made, made)
	return made, nil
}

// NetworkSettings implements [hypervisor.Driver]. The framework's NAT has a DHCP server.
func (d *Driver) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{DHCP: true}
}

// Examine implements [hypervisor.Driver].
func (d *Driver) Examine(context.Context) []doctor.Finding { return findings(readFacts()) }

// readFacts collects the facts about this Mac. It treats a failed check as a missing feature.
func readFacts() facts {
	version, err := osVersion()
	if err != nil {
		version = "of unknown version"
	}
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		name = "this processor"
	}
	support, err := unix.SysctlUint32("kern.hv_support")
	f := facts{
		version: version, chip: name, virtualize: err == nil && support != 0,
		apple: runtime.GOARCH == "arm64",
	}
	if checkVersion(version) == nil { // an older framework may not be asked
		f.signed, f.rosetta, f.nested = checkSigned(), rosettaState(), vz.IsNestedVirtualizationSupported()
	}
	return f
}

func osVersion() (string, error) {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return "", os.NewSyscallError("sysctl kern.osproductversion", err)
	}
	return version, nil
}

// refused wraps an error of vz.
func refused(doing string, err error) error {
	var said *vz.NSError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return (&FrameworkError{
			Doing: doing, Domain: said.Domain, Code: said.Code, Description: said.LocalizedDescription, Details: said.UserInfo,
		}).classified()
	}
	return fmt.Errorf("%s: %w", doing, err)
}
