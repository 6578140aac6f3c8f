package reconcile

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// Diff plans the changes that turn the machines that the host has into those that the
// project wants. It is pure, and the order of the machines does not matter.
//
// Machines of another owner are never in a plan. The error joins a [*ClashError] for each
// wanted name that another owner's machine has, and a [*PreventedError] for each disk that
// must not be lost but would be. With an error, the plan is empty.
func Diff(s Situation) (Plan, error) {
	have, err := s.inventory()
	if err != nil {
		return Plan{}, err
	}
	targets := s.targets(s.dependencies)
	if err := s.checkNames(have); err != nil {
		return Plan{}, err
	}
	plan := Plan{Drift: s.drift(have, targets)}
	var errs []error
	for _, w := range sorted(s.Want, func(w Goal) string { return w.ID }) {
		m := have[w.ID]
		delete(have, w.ID)
		if targets != nil && !targets[w.ID] {
			continue
		}
		c := Change{ID: w.ID, Stopped: w.Stopped}
		switch {
		case m == nil:
			c.Action, c.Attrs, c.Want = Create, createAttrs(&w.Spec), &w.Spec
		case !owns(s.Owner, m):
			errs = append(errs, clash(m, s.Owner))
			continue
		default:
			s.compare(&c, &w, m)
		}
		c.DriftOnly = s.driftOnly(&c, &w)
		plan.Changes = append(plan.Changes, c)
	}
	for _, id := range sortedKeys(have) {
		if have[id].Owner == s.Owner && (targets == nil || targets[id]) {
			plan.Changes = append(plan.Changes, deletion(have[id]))
		}
	}
	for _, c := range plan.Changes {
		if c.prevented() {
			errs = append(errs, &PreventedError{ID: c.ID, Action: c.Action, Why: c.Attrs})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Plan{}, err
	}
	plan.Changes = sorted(plan.Changes, func(c Change) string { return c.ID })
	s.order(&plan)
	return plan, nil
}

// checkNames returns an error if Target or Replace name a machine that the project does not have.
func (s *Situation) checkNames(have inventory) error {
	var unknown []string
	for _, id := range slices.Concat(s.Target, s.Replace) {
		m := have[id]
		if s.goal(id) == nil && (m == nil || m.Owner != s.Owner) && !slices.Contains(unknown, id) {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return &UnknownError{IDs: unknown}
	}
	return nil
}

// prevented reports whether the change loses a disk that must not be lost. The file's
// prevent_destroy counts for machines in the file, and the recorded one for all others.
func (c *Change) prevented() bool {
	switch c.Action {
	case Replace:
		return c.Want.PreventDestroy
	case Delete:
		return c.Have.PreventDestroy
	default:
		return false
	}
}

// Destroy plans to delete every machine of the owner, dependents first. Its error joins
// a [*PreventedError] for each disk that must not be lost.
func Destroy(s Situation) (Plan, error) {
	targets := s.targets(s.dependents)
	plan := Plan{Teardown: true}
	var errs []error
	for _, m := range sorted(s.Have, func(m machine.Machine) string { return m.ID }) {
		if !s.ours(&m) || m.State == machine.Absent || targets != nil && !targets[m.ID] {
			continue
		}
		c := deletion(&m)
		if c.prevented() {
			errs = append(errs, &PreventedError{ID: c.ID, Action: c.Action})
		}
		plan.Changes = append(plan.Changes, c)
	}
	if err := errors.Join(errs...); err != nil {
		return Plan{}, err
	}
	s.order(&plan)
	return plan, nil
}

// Halt plans to stop every running machine of the owner, dependents first. Disks are kept.
func Halt(s Situation) Plan {
	var plan Plan
	for _, m := range sorted(s.Have, func(m machine.Machine) string { return m.ID }) {
		if s.ours(&m) && m.Active() {
			plan.Changes = append(plan.Changes, Change{ID: m.ID, Action: Stop, Have: &m, Stopped: true})
		}
	}
	s.order(&plan)
	return plan
}

// owns reports whether a plan of owner may change m. If a broken machine's owner cannot be
// read, every project that declares its name may repair it, because a repair keeps the disk.
func owns(owner machine.Owner, m *machine.Machine) bool {
	return m.Owner == owner || moved(owner, m) || m.State == machine.Broken && !readable(m)
}

// moved reports whether m is owner's from before the project's directory was moved: m
// belongs to a project of the same name whose file is gone.
func moved(owner machine.Owner, m *machine.Machine) bool {
	return m.OwnerGone && m.Owner.Project == owner.Project
}

// readable reports whether m's record could be read: every record has a digest or an owner.
func readable(m *machine.Machine) bool { return m.Digest != "" || m.Owner != machine.Owner{} }

func deletion(m *machine.Machine) Change {
	return Change{ID: m.ID, Action: Delete, Have: m, DataLost: m.DiskUsed}
}

// compare plans the change of one existing machine.
func (s *Situation) compare(c *Change, w *Goal, have *machine.Machine) {
	want := w.Spec
	if w.KeepImage && have.Digest != "" {
		want.Image, want.Digest, want.Build = have.Image, have.Digest, nil
	}
	s.decide(c, &want, w.Stopped, have)
	if c.Action == Replace || slices.Contains(s.Replace, w.ID) {
		// A machine that is replaced uses the new image.
		want = w.Spec
		s.decide(c, &want, w.Stopped, have)
	}
	if have.ID != w.ID {
		c.From = have.ID
	}
	if c.From != "" && c.Action != Replace && c.Action != Repair {
		c.Action = Move
	}
	if c.Action.LosesDisk() {
		c.DataLost = have.DiskUsed
	}
	if c.Action == Replace || c.Action == Repair { // which may build the image
		c.Attrs = append(c.Attrs, outsideAttrs(&want)...)
	}
	c.Want, c.Have = &want, have
}

// decide sets the action of c and the differences that lead to it.
func (s *Situation) decide(c *Change, want *machine.Spec, wantStopped bool, have *machine.Machine) {
	if have.State == machine.Broken {
		c.Action, c.Attrs = compareBroken(want, have)
	} else {
		c.Action, c.Attrs = s.compareWhole(want, wantStopped, have)
	}
	if slices.Contains(s.Replace, want.ID) {
		c.Action = Replace
		c.Attrs = append(c.Attrs, AttrChange{Name: "replacement", New: "requested", ForcesReplacement: true})
	}
}

// compareBroken decides on a repair, unless the machine is known to need a replacement.
func compareBroken(want *machine.Spec, have *machine.Machine) (Action, []AttrChange) {
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

// compareWhole compares two things with what is wanted: the machine's files, and the
// settings that it was booted with. Editing the settings of a running machine changes only
// the files.
func (s *Situation) compareWhole(want *machine.Spec, wantStopped bool, have *machine.Machine) (Action, []AttrChange) {
	files, now := &have.Spec, &have.Spec
	if have.Active() && have.Booted != nil {
		booted := have.Spec
		booted.Disk = have.Booted.Disk // the size in the file applies at the next start
		if !wantStopped {
			booted.Settings = *have.Booted
			booted.NoSSHAgent = have.NoSSHAgent // sessions read the file
			booted.User.Name = cmp.Or(have.BootedAs, have.User.Name)
		}
		now = &booted
	} else if have.DiskSize > 0 {
		asleep := have.Spec
		// A larger size in the file that was not applied yet can be reverted.
		asleep.Disk = max(have.DiskSize, min(have.Disk, want.Disk))
		now = &asleep
	}
	var attrs []AttrChange
	need := None
	for _, f := range fields {
		goal := f.text(want)
		switch {
		case f.text(now) != goal:
			diff := f.change(now, want)
			action := f.action(now, want)
			if s.NoRestart && action == Restart && have.Active() {
				diff.Pending = true
				if action = Reconfigure; f.text(files) == goal {
					action = None // an earlier plan left it pending
				}
			}
			attrs = append(attrs, diff)
			need = max(need, action)
		case f.text(files) != goal:
			diff := f.change(files, want)
			diff.ForcesReplacement = false // only the files differ
			attrs = append(attrs, diff)
			need = max(need, Reconfigure)
		}
	}
	if wantStopped {
		return stoppedIn(need, have.State), attrs
	}
	return runningIn(need, have.State), attrs
}

// action returns the action that applies f's difference to a running machine.
func (f *field) action(from, to *machine.Spec) Action {
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

// runningIn returns the action for a machine in the given state that should run in the end.
// need is the action that the same differences would need if it ran.
func runningIn(need Action, state machine.State) Action {
	switch {
	case need == None && state != machine.Running && state != machine.Unreachable && state != machine.Paused:
		return Start
	case need == Update || need == Restart:
		if state == machine.Stopped {
			return Reconfigure
		}
	}
	return need
}

// stoppedIn is runningIn for a machine that should be stopped in the end.
func stoppedIn(need Action, state machine.State) Action {
	switch {
	case need == Replace:
		return Replace
	case state != machine.Stopped:
		return Stop
	case need != None:
		return Reconfigure
	}
	return None
}

// sorted returns a copy of list, sorted by name.
func sorted[T any](list []T, name func(T) string) []T {
	return slices.SortedStableFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
