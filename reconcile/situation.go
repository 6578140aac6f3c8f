package reconcile

import (
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// Goal is a machine as a project wants it.
type Goal struct {
	machine.Spec
	Stopped   bool     // it exists and does not run
	KeepImage bool     // another image makes no other machine of it
	After     []string // IDs of machines that have to be there, and up, before it
}

// Situation is all that a plan depends on.
type Situation struct {
	Owner     machine.Owner               // who plans
	Want      []Goal                      // every machine of the project
	Have      []machine.Machine           // every machine of the host
	Applied   map[string]machine.Baseline // by ID, how the owner's last apply left its machines
	Moved     map[string]string           // names that machines had before, by their new ones
	FileOrder []string                    // IDs of Want as they stand in the file; no plan depends on it

	Target    []string // plan these only, and what they depend on; empty: all
	Replace   []string // make these anew, whatever they are
	NoRestart bool     // leave restarts pending
}

// inventory is what the host has, by ID and under the new names of what has moved.
type inventory map[string]*machine.Machine

func (s *Situation) found() (inventory, error) {
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
			continue // it has moved already, or was never ours
		case taken != nil && !owns(s.Owner, taken):
			return nil, clash(taken, s.Owner) // and not a plan without the move: that would delete it
		case taken != nil:
			return nil, &MoveError{From: from, To: to}
		}
		delete(f, from)
		f[to] = m
	}
	return f, nil
}

// ours tells whether a machine is the owner's to take down. Before the first apply in a
// moved folder that holds for the machines of the file alone: others of the project's name
// may be another copy's.
func (s *Situation) ours(m *machine.Machine) bool {
	return m.Owner == s.Owner || s.wanted(m.ID) != nil && moved(s.Owner, m)
}

// wanted finds a machine by its ID.
func (s *Situation) wanted(id string) *Goal {
	for i := range s.Want {
		if s.Want[i].ID == id {
			return &s.Want[i]
		}
	}
	return nil
}

// targets are the IDs that the plan is limited to, with all that near says must go with
// each, or nil without a limit.
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

// dependencies are the IDs of the machines that id depends on.
func (s *Situation) dependencies(id string) []string {
	if w := s.wanted(id); w != nil {
		return w.After
	}
	return nil
}

// dependents are the IDs of the machines that depend on id.
func (s *Situation) dependents(id string) []string {
	var ids []string
	for i := range s.Want {
		if slices.Contains(s.Want[i].After, id) {
			ids = append(ids, s.Want[i].ID)
		}
	}
	return ids
}

// order says which changes of a plan come after which. A machine comes up after those
// that it depends on, and goes down before them. Where one goes up and the other down
// neither waits, which is also what keeps circles out.
func (s *Situation) order(p *Plan) {
	changes := map[string]*Change{}
	for i := range p.Changes {
		changes[p.Changes[i].ID] = &p.Changes[i]
	}
	down := func(c *Change) bool { return c.Action == Stop || c.Action == Delete }
	for _, w := range sorted(s.Want, func(w Goal) string { return w.ID }) {
		for _, on := range slices.Sorted(slices.Values(w.After)) {
			first, then := changes[on], changes[w.ID]
			if first == nil || then == nil || s.wanted(on) == nil {
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
