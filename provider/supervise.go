package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/supervisor"
)

// Tags of the shares of every machine.
const (
	homeTag    = "home"
	modulesTag = "modules"
)

// report is the one line that a supervisor writes to who started it.
type report struct {
	Ready  bool   `json:"ready,omitempty"`
	Error  string `json:"error,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// Supervise runs the machine until it ends or ctx does. It is the whole life of the
// supervisor process. One line on started tells when the machine is ready or why it
// cannot be.
func (p *Provider) Supervise(ctx context.Context, id string, started io.WriteCloser) error {
	say := func(r report) {
		if started != nil {
			_ = json.NewEncoder(started).Encode(r) // who started us may be gone
			_ = started.Close()
			started = nil
		}
	}
	err := p.supervise(ctx, id, started, func() { say(report{Ready: true}) })
	if err != nil {
		say(failure(err))
	}
	say(report{Error: "it was stopped before it was ready"}) // unless it has been, which was said
	return err
}

func failure(err error) report {
	r := report{Error: err.Error()}
	var advice interface{ Remedy() string }
	if errors.As(err, &advice) {
		r.Remedy = advice.Remedy()
	}
	return r
}

// ReportFailure tells who started this supervisor why it cannot even begin.
func ReportFailure(started io.WriteCloser, err error) {
	_ = json.NewEncoder(started).Encode(failure(err)) // who started us may be gone
	_ = started.Close()
}

// errAbandoned ends a supervisor whose starter was killed before it had its lock. Nobody
// could see yet that a machine is about to run: it must not appear beside a plan that was
// made meanwhile.
var errAbandoned = errors.New("who started this supervisor is gone")

// wanted tells whether somebody still waits for a report. White space is none.
func wanted(started io.Writer) error {
	if started == nil {
		return nil
	}
	if _, err := started.Write([]byte("\n")); err != nil {
		return fmt.Errorf("%w: %w", errAbandoned, err)
	}
	return nil
}

func (p *Provider) supervise(ctx context.Context, id string, started io.Writer, ready func()) error {
	b := p.bundle(id)
	if !ValidID(id) || !b.exists() {
		return &NotFoundError{ID: id}
	}
	alive := flock.New(b.path(supervisorLock), flock.SetPermissions(0o600))
	// Whoever asks whether a supervisor lives holds the lock for a moment, which is long
	// where that process does not get to run. Waiting costs only a second supervisor.
	locking, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if _, err := alive.TryLockContext(locking, 10*time.Millisecond); err != nil {
		return fmt.Errorf("machine %s has a supervisor already: %w", id, err)
	}
	defer func() { _ = alive.Unlock() }()
	if err := wanted(started); err != nil {
		return err
	}
	runDir, err := p.makeRunDir(id)
	if err != nil {
		return err
	}
	ctx, release, err := untilLogout(ctx)
	if err != nil { // no reason not to have a machine
		p.log.Warn("this machine will not notice that you log out", "err", err)
	}
	defer release()
	err = supervisor.Run(ctx, supervisor.Options{
		RunDir:  runDir,
		Driver:  p.driver,
		Prepare: func(ctx context.Context) (supervisor.Boot, error) { return p.prepare(ctx, b, runDir) },
		Ready:   ready,
		Settled: func(services []string) { p.noteServices(b, services) },
		Log:     p.log,
	})
	return errors.Join(err, os.RemoveAll(runDir), removeIfExists(b.path(initrdFile)), removeIfExists(b.path(bootedFile)))
}

func removeIfExists(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// prepare turns the bundle into one boot.
func (p *Provider) prepare(ctx context.Context, b bundle, runDir string) (supervisor.Boot, error) {
	r, err := b.readRecord()
	if err != nil {
		return supervisor.Boot{}, err
	}
	s, err := b.settings()
	if err != nil {
		return supervisor.Boot{}, err
	}
	cpu, caps, err := p.processorOf(ctx, r.spec(s))
	if err != nil {
		return supervisor.Boot{}, err
	}
	k, err := p.openKernel(s.Kernel, cpu)
	if err != nil {
		return supervisor.Boot{}, err
	}
	shares, mounts, err := shares(s, k)
	if err != nil {
		return supervisor.Boot{}, err
	}
	if err := b.growDisk(s.Disk); err != nil {
		return supervisor.Boot{}, err
	}
	host, client, err := guest.NewKeys()
	if err != nil {
		return supervisor.Boot{}, err
	}
	tell := guestBoot(r, s, mounts, p.driver.NetworkSettings())
	tell.Rosetta, tell.SharedInodes = cpu.rosetta, caps.SharedInodes
	tell.HostKey, tell.ClientKey = host.Private, client.Public
	initrd := b.path(initrdFile)
	if err := p.writeInitramfs(initrd, k, needs(s, cpu, caps), tell); err != nil {
		return supervisor.Boot{}, err
	}
	boot := supervisor.Boot{
		Config: hypervisor.Config{
			Name: r.Configuration.ID, Arch: cpu.arch, Rosetta: cpu.rosetta, Identity: b.path(identityFile), CPUs: s.CPUs, Memory: s.Memory,
			Kernel: k.Path, Initrd: initrd,
			Disks:      []hypervisor.Disk{{Path: b.path(diskFile), Serial: guest.RootSerial}},
			Shares:     shares,
			Network:    &hypervisor.Network{MAC: macFor(b.dir)},
			ConsoleLog: b.path(string(ConsoleLog)),
			Nested:     s.Virtualization,
			RunDir:     runDir,
		},
		Services: s.Services,
	}
	if boot.ClientKey, err = client.Signer(); err != nil {
		return supervisor.Boot{}, err
	}
	if boot.HostKey, err = host.PublicKey(); err != nil {
		return supervisor.Boot{}, err
	}
	return boot, b.markBooted(s)
}

// noteServices records which services the running machine has taken, so that a plan
// knows what is left to do.
func (p *Provider) noteServices(b bundle, services []string) {
	booted, err := b.booted()
	if err == nil && booted != nil {
		booted.Services = services
		err = b.markBooted(*booted)
	}
	if err != nil {
		p.log.Error("cannot record the services", "err", err)
	}
}
