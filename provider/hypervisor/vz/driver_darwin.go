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
	// made are all machines of this process, so that none becomes garbage: with it would
	// go the handle by which the framework reports changes of state, and a report that
	// comes later would end the process.
	made []*vz.VirtualMachine
}

var _ hypervisor.Driver = (*Driver)(nil)

// New fills defaults. It asks the framework nothing.
func New(o Options) *Driver {
	return &Driver{log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
}

// sharedInodes bounds what a guest knows of its shares. The process that the framework
// runs for a machine holds a descriptor for each file that the guest knows, and has been
// seen with 230,000 (docker/desktop-feedback#218); other programs fail then, as the Mac's
// table of files is full (apple/container#1097, docker/for-mac#6783: at 57,000).
//
// That table, kern.maxfiles, has 122,880 or 245,760 entries on most Macs of today, by
// their memory, and has had 49,152 with macOS 11. One process gets half of it
// (kern.maxfilesperproc), 24,576 at least. 20,000 stay below that and let several
// machines share the table, and are enough for most working trees to stay known.
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

// Validate implements [hypervisor.Driver]. Fields that are still empty are not checked.
func (d *Driver) Validate(ctx context.Context, c hypervisor.Config) error {
	caps, err := d.Capabilities(ctx)
	if err != nil {
		return err
	}
	_, identityErr := storedIdentifier(c.Identity)
	return errors.Join(
		hypervisor.Check(c, caps, int64(vz.VirtualMachineConfigurationMaximumAllowedMemorySize())),
		checkKernel(c.Kernel, runtime.GOARCH),
		checkRosetta(c.Rosetta, rosettaHere()),
		identityErr,
		checkSigned(),
	)
}

// checkSigned asks the framework whether this program may run machines: without the
// entitlement it finds every configuration invalid. What else is wrong with so small a
// machine does not matter, nor that its kernel is none.
func checkSigned() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	loader, err := vz.NewLinuxBootLoader(self)
	if err != nil {
		return refused("describe a machine", err)
	}
	conf, err := vz.NewVirtualMachineConfiguration(loader,
		vz.VirtualMachineConfigurationMinimumAllowedCPUCount(), vz.VirtualMachineConfigurationMinimumAllowedMemorySize())
	if err != nil {
		return refused("describe a machine", err)
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

// Start implements [hypervisor.Driver]. The framework needs a moment and knows no ctx.
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
	log, err := console.Open(c.ConsoleLog)
	if err != nil {
		return nil, err
	}
	if m.vm, err = d.make(c); err != nil {
		return nil, err
	}
	if err := m.vm.Start(); err != nil {
		return nil, refused("start the machine", err)
	}
	if err := m.findAgent(); err != nil {
		return nil, err
	}
	d.log.Debug("machine started", "name", c.Name)
	return attend(m, log, defaultPace), nil
}

// make has the framework make the machine, and keeps it.
func (d *Driver) make(c hypervisor.Config) (*vz.VirtualMachine, error) {
	var b builder
	conf, err := b.configuration(c)
	if err != nil {
		return nil, err
	}
	made, err := vz.NewVirtualMachine(conf)
	runtime.KeepAlive(b)
	if err != nil {
		return nil, refused("make the machine", err)
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

// Examine looks at all of this Mac that decides how machines run.
func (d *Driver) Examine(context.Context) []doctor.Finding { return assess(look()) }

// look reads the facts. What cannot be read is as if it were not there.
func look() facts {
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
		f.signed, f.rosetta, f.nested = checkSigned(), rosettaHere(), vz.IsNestedVirtualizationSupported()
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

// refused turns what vz returns into an error of ours.
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
