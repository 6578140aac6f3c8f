package reconcile

import (
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// Goal is the state of a machine that a project declares.
type Goal struct {
	machine.Spec
	Stopped   bool     // the machine is stopped
	KeepImage bool     // another image does not replace the machine
	After     []string // IDs of machines that must exist and run before it
}

// Situation is everything that a plan depends on.
type Situation struct {
	Owner     machine.Owner               // of the plan
	Want      []Goal                      // every machine that the project declares
	Have      []machine.Machine           // every machine of the host
	Applied   map[string]machine.Baseline // how the owner's last apply left its machines, by ID
	Moved     map[string]string           // former names of machines, by their new names
	FileOrder []string                    // IDs of Want in the order of the file; does not affect the plan

	Target    []string // plan only these machines and their dependencies; empty: all
	Replace   []string // replace these machines
	NoRestart bool     // defer changes that need a restart
}

// inventory holds the machines of the host by ID. Moved machines are under their new names.
type inventory map[string]*machine.Machine

func (s *Situation) inventory() (inventory, error) {
	f := inventory{}
	for _, m := range s.Have {
		if m.State != machine.Absent {
			f[m.ID] = &m
		}
	}
	for _, to := range sortedKeys(s.Moved) {
		from := s.Moved[to]
		m, taken := f[from], f[to]
		switch {
		case m == nil || !owns(s.Owner, m):
			continue // already moved, or not the owner's
		case taken != nil && !owns(s.Owner, taken):
			return nil, clash(taken, s.Owner) // a plan without the move would delete the machine
		case taken != nil:
			return nil, &MoveError{From: from, To: to}
		}
		delete(f, from)
		f[to] = m
	}
	return f, nil
}

// ours reports whether the owner may stop or delete a machine. If the project's directory
// was moved and nothing was applied since, these are only the machines in the file: others
// with the project's name may belong to another copy of the project.
func (s *Situation) ours(m *machine.Machine) bool {
	return m.Owner == s.Owner || s.goal(m.ID) != nil && moved(s.Owner, m)
}

// goal finds a machine by its ID.
func (s *Situation) goal(id string) *Goal {
	for i := range s.Want {
		if s.Want[i].ID == id {
			return &s.Want[i]
		}
	}
	return nil
}

// targets returns the IDs that the plan is limited to, including those that near returns for
// each of them, or nil if there is no limit.
func (s *Situation) targets(near func(id string) []string) map[string]bool {
	if len(s.Target) == 0 {
		return nil
	}
	in := map[string]bool{}
	var add func(ids []string)
	add = func(ids []string) {
		for _, id := range ids {
			if !in[id] {
				in[id] = true
				add(near(id))
			}
		}
	}
	add(s.Target)
	return in
}

// dependencies returns the IDs of the machines that id depends on.
func (s *Situation) dependencies(id string) []string {
	if w := s.goal(id); w != nil {
		return w.After
	}
	return nil
}

// dependents returns the IDs of the machines that depend on id.
func (s *Situation) dependents(id string) []string {
	var ids []string
	for i := range s.Want {
		if slices.Contains(s.Want[i].After, id) {
			ids = append(ids, s.Want[i].ID)
		}
	}
	return ids
}

// order sets After of a plan's changes. A machine starts after the machines that it depends
// on, and stops before them. If one starts and the other stops, neither waits, which also
// prevents cycles.
func (s *Situation) order(p *Plan) {
	changes := map[string]*Change{}
	for i := range p.Changes {
		changes[p.Changes[i].ID] = &p.Changes[i]
	}
	down := func(c *Change) bool { return c.Action == Stop || c.Action == Delete }
	for _, w := range sorted(s.Want, func(w Goal) string { return w.ID }) {
		for _, on := range slices.Sorted(slices.Values(w.After)) {
			first, then := changes[on], changes[w.ID]
			if first == nil || then == nil || s.goal(on) == nil {
				continue
			}
			switch {
			case down(first) != down(then):
				continue
			case down(first):
				first, then = then, first
			}
			then.After = append(then.After, first.ID)
		}
	}
	for i := range p.Changes {
		slices.Sort(p.Changes[i].After)
	}
}
