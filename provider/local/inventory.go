package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/supervisor"
)

// observeTimeout limits the request to one supervisor. On a busy host the answer may take
// seconds, and without it a plan would take a running machine for a booting one. The full time
// passes only if a supervisor hangs.
const observeTimeout = 10 * time.Second

// observers is how many machines are observed at once: several supervisors that hang should not
// add up.
const observers = 16

// Inventory reads the current state of the machines of a state directory.
type Inventory struct {
	bundles *bundle.Store
	files   existence // of projects' files
}

// Supervisor returns a client of the machine's supervisor, which may not run.
func (i *Inventory) Supervisor(id string) *supervisor.Client {
	return supervisor.NewClient(runDir(i.bundles, id).Find)
}

// runDir describes the directory of a machine's sockets.
func runDir(s *bundle.Store, id string) host.RunDir {
	return host.RunDir{State: s.Home(), ID: id, Record: s.Bundle(id).Path(bundle.RunLink)}
}

// List returns every machine, sorted by name. A machine with an unreadable bundle is Broken,
// never omitted: it must not appear to be absent.
func (i *Inventory) List(ctx context.Context) ([]machine.Machine, error) {
	ids, err := i.bundles.IDs()
	if err != nil {
		return nil, err
	}
	first, err := i.bundles.Default()
	if err != nil {
		return nil, err
	}
	machines := make([]machine.Machine, len(ids))
	var all errgroup.Group
	all.SetLimit(observers)
	for n, id := range ids {
		all.Go(func() error {
			machines[n] = i.observe(ctx, id)
			machines[n].Default = id == first
			return nil
		})
	}
	_ = all.Wait() // always nil
	return machines, ctx.Err()
}

// Get returns one machine.
func (i *Inventory) Get(ctx context.Context, id string) (machine.Machine, error) {
	if _, err := i.bundles.Existing(id); err != nil {
		return machine.Machine{}, err
	}
	m := i.observe(ctx, id)
	first, err := i.bundles.Default()
	m.Default = id == first
	return m, err
}

func (i *Inventory) observe(ctx context.Context, id string) machine.Machine {
	b := i.bundles.Bundle(id)
	m := machine.Machine{Spec: machine.Spec{ID: id}, DiskUsed: b.DiskUsed()}
	broken := func(err error) machine.Machine {
		m.State, m.Problem = machine.Broken, err.Error()
		return m
	}
	r, err := i.bundles.Identify(id)
	if err != nil {
		return broken(err)
	}
	m.Spec, m.Created = r.Spec(machine.Settings{}), r.CreatedDate
	m.OwnerGone = i.files.gone(ctx, m.Owner)
	s, err := b.Settings()
	if err != nil {
		return broken(err)
	}
	disk, err := os.Stat(b.Path(bundle.DiskFile))
	if err != nil {
		return broken(fmt.Errorf("disk: %w", err))
	}
	m.Settings, m.State, m.DiskSize = s, machine.Stopped, disk.Size()
	alive, err := b.Supervised()
	if err != nil {
		return broken(err)
	}
	if alive {
		i.observeRunning(ctx, b, &m)
	} else {
		m.Problem = b.Ended()
	}
	return m
}

// observeRunning adds the supervisor's status.
func (i *Inventory) observeRunning(ctx context.Context, b bundle.Bundle, m *machine.Machine) {
	m.State = machine.Booting
	if booted, user, err := b.Booted(); err == nil {
		m.Booted, m.BootedAs = booted, user
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	st, err := i.Supervisor(m.ID).Status(ctx, "")
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			m.State, m.Problem = machine.Unreachable, (&SilentError{After: observeTimeout}).Error()
		}
		return // it is just starting or ending
	}
	m.Started, m.Address, m.Heard, m.Problem = st.Started, st.Address, st.Heard, st.Problem
	switch st.State {
	case supervisor.StateRunning:
		m.State = machine.Running
	case supervisor.StateUnreachable:
		m.State, m.Problem = machine.Unreachable, "its agent does not answer"
	case supervisor.StatePaused:
		m.State = machine.Paused
	case supervisor.StateStopping:
		m.State = machine.Stopping
	}
}
