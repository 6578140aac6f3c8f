// Package reconciletest provides an in-memory host, so that tests of the engine and of the
// commands use a provider with realistic behaviour instead of canned answers.
package reconciletest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/stead-vm/stead/provider/machine"
)

// Host keeps machines in memory. It implements reconcile.Provider and refuses what a real
// host would refuse. It is safe for concurrent use.
type Host struct {
	// Fail, if set, is called before each call and may return an error for it. op is the
	// method's name.
	Fail func(op, id string) error

	mu       sync.Mutex
	machines map[string]machine.Machine
	applied  map[string]machine.Baseline
	calls    []string
}

// New returns a host with the given machines.
func New(machines ...machine.Machine) *Host {
	h := &Host{machines: map[string]machine.Machine{}, applied: map[string]machine.Baseline{}}
	for _, m := range machines {
		h.machines[m.ID] = m
	}
	return h
}

// Machines returns the machines of the host, sorted by ID.
func (h *Host) Machines() []machine.Machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]machine.Machine, 0, len(h.machines))
	for _, id := range slices.Sorted(maps.Keys(h.machines)) {
		list = append(list, h.machines[id])
	}
	return list
}

// Applied returns what Note recorded, by ID.
func (h *Host) Applied() map[string]machine.Baseline {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.applied)
}

// Calls returns the calls so far that can change something, such as "start dev", in order.
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Check accepts every machine.
func (h *Host) Check(_ context.Context, s machine.Spec) error {
	return h.refusal("check", s.ID)
}

// Create adds a stopped machine.
func (h *Host) Create(ctx context.Context, s machine.Spec) error {
	return h.change(ctx, "create", s.ID, func(m *machine.Machine, there bool) error {
		if there {
			return fmt.Errorf("machine %q already exists", s.ID)
		}
		*m = machine.Machine{Spec: s, State: machine.Stopped}
		return nil
	})
}

// Configure writes s to a machine's files.
func (h *Host) Configure(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return h.changeExpected(ctx, "configure", s.ID, expect, func(m *machine.Machine, there bool) error {
		if !there || m.State == machine.Broken {
			return fmt.Errorf("machine %q cannot be configured", s.ID)
		}
		if s.Disk < diskSize(m) {
			return fmt.Errorf("the disk of machine %q cannot shrink", s.ID)
		}
		m.DiskSize = diskSize(m)
		m.Settings, m.Image, m.Owner, m.PreventDestroy, m.OwnerGone = s.Settings, s.Image, s.Owner, s.PreventDestroy, false
		m.User.Name = s.User.Name
		return nil
	})
}

// diskSize returns the current size of the disk. The size in the files may be larger until the
// next start.
func diskSize(m *machine.Machine) int64 {
	switch {
	case m.Booted != nil:
		return m.Booted.Disk
	case m.DiskSize > 0:
		return m.DiskSize
	}
	return m.Disk
}

// ApplyServices applies the services in the files to the running machine.
func (h *Host) ApplyServices(ctx context.Context, id string) error {
	return h.change(ctx, "services", id, func(m *machine.Machine, _ bool) error {
		if m.State != machine.Running {
			return fmt.Errorf("machine %q is not running", id)
		}
		booted := *m.Booted
		booted.Services = m.Services
		m.Booted = &booted
		return nil
	})
}

// Start starts a machine with the settings in its files.
func (h *Host) Start(ctx context.Context, id string) error {
	return h.change(ctx, "start", id, func(m *machine.Machine, there bool) error {
		if !there || m.State == machine.Broken {
			return fmt.Errorf("machine %q cannot start", id)
		}
		if m.State == machine.Stopped {
			booted := m.Settings
			m.Booted, m.BootedAs, m.DiskSize = &booted, m.User.Name, m.Disk
		}
		m.State = machine.Running
		return nil
	})
}

// Stop stops a machine.
func (h *Host) Stop(ctx context.Context, id string) error {
	return h.change(ctx, "stop", id, func(m *machine.Machine, there bool) error {
		if !there {
			return fmt.Errorf("machine %q not found", id)
		}
		if m.State != machine.Broken {
			m.DiskSize = diskSize(m)
			m.State = machine.Stopped
		}
		m.Booted, m.BootedAs = nil, ""
		return nil
	})
}

// Replace creates a machine again.
func (h *Host) Replace(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return h.changeExpected(ctx, "replace", s.ID, expect, func(m *machine.Machine, there bool) error {
		if !there {
			return fmt.Errorf("machine %q not found", s.ID)
		}
		*m = machine.Machine{Spec: s, State: machine.Stopped}
		return nil
	})
}

// Repair repairs a broken machine and keeps its disk.
func (h *Host) Repair(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return h.changeExpected(ctx, "repair", s.ID, expect, func(m *machine.Machine, _ bool) error {
		if m.State != machine.Broken {
			return fmt.Errorf("machine %q is not broken", s.ID)
		}
		*m = machine.Machine{Spec: s, State: machine.Stopped, DiskUsed: m.DiskUsed}
		return nil
	})
}

// Delete removes a machine.
func (h *Host) Delete(ctx context.Context, id string, expect *machine.Identity) error {
	return h.changeExpected(ctx, "delete", id, expect, func(m *machine.Machine, _ bool) error {
		m.State = machine.Absent
		return nil
	})
}

// Move renames a machine.
func (h *Host) Move(ctx context.Context, from, to string, expect *machine.Identity) error {
	return h.changeExpected(ctx, "move", from, expect, func(m *machine.Machine, there bool) error {
		_, taken := h.machines[to]
		switch {
		case taken && !there:
			return nil // already moved
		case taken || !there:
			return fmt.Errorf("cannot rename machine %q to %q", from, to)
		}
		if m.State != machine.Stopped && m.State != machine.Broken {
			return fmt.Errorf("machine %q is running", from)
		}
		moved := *m
		moved.ID = to
		h.machines[to] = moved
		m.State = machine.Absent
		return nil
	})
}

// Note records how an apply left a machine.
func (h *Host) Note(_ context.Context, id string, s *machine.Spec, stopped bool) error {
	if err := h.refusal("note", id); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s == nil {
		delete(h.applied, id)
		return nil
	}
	h.applied[id] = machine.Baseline{Spec: *s, Stopped: stopped, Created: h.machines[id].Created}
	return nil
}

// changeExpected is change, but only for the machine that a plan was made for.
func (h *Host) changeExpected(
	ctx context.Context, op, id string, expect *machine.Identity, f func(m *machine.Machine, there bool) error,
) error {
	return h.change(ctx, op, id, func(m *machine.Machine, there bool) error {
		if there && expect != nil && *m.Identity() != *expect {
			return &machine.ChangedError{ID: id, What: "changed"}
		}
		return f(m, there)
	})
}

// change records a call and, unless Fail refuses it, calls f to change the machine.
func (h *Host) change(ctx context.Context, op, id string, f func(m *machine.Machine, there bool) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	h.calls = append(h.calls, op+" "+id)
	h.mu.Unlock()
	if err := h.refusal(op, id); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, there := h.machines[id]
	if err := f(&m, there); err != nil {
		return err
	}
	h.machines[id] = m
	if m.State == machine.Absent {
		delete(h.machines, id)
	}
	return nil
}

func (h *Host) refusal(op, id string) error {
	if h.Fail == nil {
		return nil
	}
	return h.Fail(op, id)
}
