package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/stead-vm/stead/provider"
)

// ClashError says that a wanted name belongs to somebody else's machine.
type ClashError struct {
	ID    string
	Owner provider.Owner // whose it is; zero: a person's
	Want  provider.Owner // who wants the name
}

func (e *ClashError) Error() string {
	switch {
	case e.Owner == provider.Owner{}:
		return fmt.Sprintf("machine %q exists already and belongs to no project: somebody made it by hand", e.ID)
	case e.Owner.File == e.Want.File:
		return fmt.Sprintf("machine %q belongs to project %q, which is what this file was called before", e.ID, e.Owner.Project)
	default:
		return fmt.Sprintf("machine %q belongs to project %q (%s)", e.ID, e.Owner.Project, e.Owner.File)
	}
}

// Remedy says how to go on.
func (e *ClashError) Remedy() string {
	switch {
	case e.Owner.File != "" && e.Owner.File == e.Want.File:
		return fmt.Sprintf("write project = %q, or run `stead rm %s`, which loses its disk", e.Owner.Project, e.ID)
	default:
		return fmt.Sprintf("choose another name, or run `stead rm %s`, which loses its disk", e.ID)
	}
}

// Diff plans how the machines that were found become the wanted ones. It needs
// no host: equal arguments give equal plans, whatever their order.
//
// Machines of another owner are never in a plan. Where one has a wanted name
// the error holds a [*ClashError] for each such name, and there is no plan.
func Diff(want []provider.Spec, have []provider.Machine, owner provider.Owner) (Plan, error) {
	found := make(map[string]*provider.Machine, len(have))
	for _, m := range have {
		if m.State != provider.Absent {
			found[m.ID] = &m
		}
	}
	var plan Plan
	var errs []error
	for _, s := range sorted(want, func(s provider.Spec) string { return s.ID }) {
		m := found[s.ID]
		delete(found, s.ID)
		switch {
		case m == nil:
			plan.Changes = append(plan.Changes, Change{ID: s.ID, Action: Create, Attrs: created(&s), Want: &s})
		case !owns(owner, m):
			errs = append(errs, &ClashError{ID: s.ID, Owner: m.Owner, Want: owner})
		default:
			plan.Changes = append(plan.Changes, compare(&s, m))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Plan{}, err
	}
	for _, m := range found {
		if m.Owner == owner {
			plan.Changes = append(plan.Changes, deletion(m))
		}
	}
	plan.Changes = sorted(plan.Changes, func(c Change) string { return c.ID })
	return plan, nil
}

// Destroy plans the end of every machine of owner.
func Destroy(have []provider.Machine, owner provider.Owner) Plan {
	var plan Plan
	for _, m := range sorted(have, func(m provider.Machine) string { return m.ID }) {
		if m.Owner == owner && m.State != provider.Absent {
			plan.Changes = append(plan.Changes, deletion(&m))
		}
	}
	return plan
}

// Halt plans the stop of every machine of owner that runs. Disks are kept.
func Halt(have []provider.Machine, owner provider.Owner) Plan {
	var plan Plan
	for _, m := range sorted(have, func(m provider.Machine) string { return m.ID }) {
		if m.Owner == owner && active(&m) {
			plan.Changes = append(plan.Changes, Change{ID: m.ID, Action: Stop, Have: &m})
		}
	}
	return plan
}

// owns tells whether a plan of owner may change m. A broken machine whose owner
// cannot be read is nobody's: who wants its name may repair it, for that keeps
// its disk.
func owns(owner provider.Owner, m *provider.Machine) bool {
	return m.Owner == owner || m.State == provider.Broken && !legible(m)
}

// legible tells whether it is known what m is: its image is always recorded.
func legible(m *provider.Machine) bool { return m.Digest != "" || m.Owner != provider.Owner{} }

func active(m *provider.Machine) bool {
	return m.State == provider.Running || m.State == provider.Booting
}

func deletion(m *provider.Machine) Change {
	return Change{ID: m.ID, Action: Delete, Have: m, DataLost: m.DiskUsed}
}

// compare plans the change of one existing machine.
func compare(want *provider.Spec, have *provider.Machine) Change {
	c := Change{ID: want.ID, Want: want, Have: have}
	if have.State == provider.Broken {
		c.Action, c.Attrs = compareBroken(want, have)
	} else {
		c.Action, c.Attrs = compareWhole(want, have)
	}
	if c.Action.LosesDisk() {
		c.DataLost = have.DiskUsed
	}
	return c
}

// compareBroken repairs, unless the machine is known to be another one.
func compareBroken(want *provider.Spec, have *provider.Machine) (Action, []AttrChange) {
	var attrs []AttrChange
	for _, f := range fields {
		if have.Digest != "" && f.class == identity && f.replaces(&have.Spec, want) {
			attrs = append(attrs, f.change(&have.Spec, want))
		}
	}
	if len(attrs) > 0 {
		return Replace, attrs
	}
	return Repair, nil
}

// compareWhole looks at two things that can differ from what is wanted: the
// machine's files, and what it was booted with. Who ran `set` on a running
// machine has changed only the first.
func compareWhole(want *provider.Spec, have *provider.Machine) (Action, []AttrChange) {
	files, now := &have.Spec, &have.Spec
	if active(have) && have.Booted != nil {
		booted := have.Spec
		booted.Settings = *have.Booted
		now = &booted
	}
	var attrs []AttrChange
	need := None
	for _, f := range fields {
		switch wish := f.text(want); {
		case f.text(now) != wish:
			attrs = append(attrs, f.change(now, want))
			need = max(need, f.action(now, want))
		case f.text(files) != wish:
			diff := f.change(files, want)
			diff.ForcesReplacement = false // the machine is as wanted, only its files are not
			attrs = append(attrs, diff)
			need = max(need, Reconfigure)
		}
	}
	return inState(need, have.State), attrs
}

// action is what a field's difference takes on a running machine.
func (f *field) action(from, to *provider.Spec) Action {
	switch {
	case f.replaces(from, to):
		return Replace
	case f.class == boot:
		return Restart
	case f.class == live:
		return Update
	default:
		return Reconfigure
	}
}

// inState is what a running machine's need means for one in another state. All
// wanted machines end up running.
func inState(need Action, state provider.State) Action {
	switch {
	case need == None && state != provider.Running:
		return Start
	case need == Update || need == Restart:
		if state == provider.Stopped {
			return Reconfigure
		}
	}
	return need
}

// sorted is a copy of list in the order of its names.
func sorted[T any](list []T, name func(T) string) []T {
	return slices.SortedStableFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}
