package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/supervisor"
)

// observeTimeout bounds the question to one supervisor. It answers from memory, but on a
// busy host that may take seconds, and a plan would take a machine that runs for one that
// boots. All of it is waited for only where a supervisor hangs: long enough to be noticed,
// and short enough for a list of all machines to come.
const observeTimeout = 10 * time.Second

// endTimeout bounds the end of a supervisor whose machine may still have to stop.
const endTimeout = supervisor.DefaultGrace + time.Minute

// Observe reports every machine of this host, sorted by name. A bundle that cannot be
// read is reported as Broken; it is never left out, so that nobody takes it for absent.
func (p *Provider) Observe(ctx context.Context) ([]Machine, error) {
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	first, err := p.Default()
	if err != nil {
		return nil, err
	}
	machines := make([]Machine, 0, len(ids))
	for _, id := range ids {
		m := p.observe(ctx, id)
		m.Default = id == first
		machines = append(machines, m)
	}
	return machines, ctx.Err()
}

// Machine reports one machine.
func (p *Provider) Machine(ctx context.Context, id string) (Machine, error) {
	if !ValidID(id) || !p.bundle(id).exists() {
		return Machine{}, &NotFoundError{ID: id}
	}
	m := p.observe(ctx, id)
	first, err := p.Default()
	m.Default = id == first
	return m, err
}

func (p *Provider) observe(ctx context.Context, id string) Machine {
	b := p.bundle(id)
	m := Machine{Spec: Spec{ID: id}, DiskUsed: b.used(diskFile)}
	broken := func(err error) Machine {
		m.State, m.Problem = Broken, err.Error()
		return m
	}
	if err := p.identify(&m); err != nil {
		return broken(err)
	}
	m.OwnerGone = m.Owner.gone()
	s, err := b.settings()
	if err != nil {
		return broken(err)
	}
	disk, err := os.Stat(b.path(diskFile))
	if err != nil {
		return broken(fmt.Errorf("disk: %w", err))
	}
	m.Settings, m.State, m.DiskSize = s, Stopped, disk.Size()
	alive, err := b.supervised()
	if err != nil {
		return broken(err)
	}
	if alive {
		p.observeRunning(ctx, b, &m)
	}
	return m
}

// identify reads what the machine m.ID is and whose, whatever else is wrong with it.
func (p *Provider) identify(m *Machine) error {
	b := p.bundle(m.ID)
	r, err := b.readRecord()
	if err != nil {
		return err
	}
	if r.Configuration.ID != m.ID {
		return fmt.Errorf("%s is about machine %q", b.path(configFile), r.Configuration.ID)
	}
	m.Spec, m.Created = r.spec(Settings{}), r.CreatedDate
	return nil
}

// gone tells whether the project's file is not there any more, as when its folder was
// moved. A folder that cannot be looked into tells nothing.
func (o Owner) gone() bool {
	if o.File == "" {
		return false
	}
	_, err := os.Stat(o.File)
	return errors.Is(err, os.ErrNotExist)
}

// observeRunning adds what the supervisor knows.
func (p *Provider) observeRunning(ctx context.Context, b bundle, m *Machine) {
	m.State = Booting
	booted, err := b.booted()
	if err == nil {
		m.Booted = booted
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	st, err := p.supervisor(m.ID).Status(ctx, "")
	if err != nil {
		return // it has just come or is just going
	}
	m.Started, m.Address = st.Started, st.Address
	if st.State == supervisor.StateRunning {
		m.State = Running
	}
}

// used is what a file of the bundle really occupies, in bytes; 0 when there is none.
func (b bundle) used(name string) int64 {
	info, err := os.Stat(b.path(name))
	if err != nil {
		return 0
	}
	return image.SpaceOf(info).Real
}

// awaitSupervisorEnd returns when no supervisor holds the bundle any more.
func (p *Provider) awaitSupervisorEnd(ctx context.Context, b bundle) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endTimeout, errors.New("the supervisor does not end"))
	defer cancel()
	for {
		alive, err := b.supervised()
		if err != nil || !alive {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
