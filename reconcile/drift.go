package reconcile

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
)

// Drift is what somebody has changed outside of the project file since the last apply,
// as far as it still differs from what the file wants.
type Drift struct {
	ID    string
	What  string       // for people: "was removed", "was stopped"; empty: see Attrs
	Attrs []AttrChange // from what was applied to what was found
}

// drift compares what was found with what the last apply has left.
func (s *Situation) drift(have inventory, targets map[string]bool) []Drift {
	var drifts []Drift
	for _, id := range sortedKeys(s.Applied) {
		w, applied := s.wanted(id), s.Applied[id]
		if w == nil || targets != nil && !targets[id] {
			continue // nobody wants it back
		}
		d := Drift{ID: id}
		switch m := have[id]; {
		case m == nil:
			d.What = "was removed"
		case !owns(s.Owner, m):
			d.What = "belongs to somebody else"
		case m.State == machine.Broken:
			d.What = "cannot be read"
		default:
			d.What, d.Attrs = drifted(&applied, w, m)
		}
		if d.What != "" || len(d.Attrs) > 0 {
			drifts = append(drifts, d)
		}
	}
	return drifts
}

// drifted tells how a machine that is there differs from how it was left, where it is not
// as wanted.
func drifted(applied *machine.Baseline, w *Goal, m *machine.Machine) (what string, attrs []AttrChange) {
	switch {
	case !applied.Created.IsZero() && !m.Created.Equal(applied.Created):
		what = "was made anew"
	case !applied.Stopped && m.State == machine.Stopped && !w.Stopped:
		what = "was stopped"
	case applied.Stopped && active(m) && w.Stopped:
		what = "was started"
	}
	for _, f := range fields {
		if was, is := f.text(&applied.Spec), f.text(&m.Spec); !f.given && is != was && is != f.text(&w.Spec) {
			change := f.change(&applied.Spec, &m.Spec)
			change.ForcesReplacement = false
			attrs = append(attrs, change)
		}
	}
	return what, attrs
}

// driftOnly tells whether the change would not be planned had nobody touched the machine
// since the last apply.
func (s *Situation) driftOnly(c *Change, w *Goal) bool {
	applied, ok := s.Applied[w.ID]
	if !ok || c.Action == None || c.From != "" {
		return false
	}
	left := machine.Machine{Spec: applied.Spec, State: machine.Running, Booted: &applied.Settings}
	if applied.Stopped {
		left.State, left.Booted = machine.Stopped, nil
	}
	undisturbed := Change{ID: w.ID}
	s.compare(&undisturbed, w, &left)
	return undisturbed.Action == None
}

// Accept notes what was found as what was applied, for every machine of which the plan
// tells drift. No machine is changed.
func Accept(ctx context.Context, prov Provider, s Situation, p Plan) error {
	have, err := s.found()
	if err != nil {
		return err
	}
	for _, d := range p.Drift {
		var spec *machine.Spec
		stopped := false
		if m := have[d.ID]; m != nil && m.State != machine.Broken {
			spec, stopped = &m.Spec, m.State == machine.Stopped
		}
		if err := prov.Note(ctx, d.ID, spec, stopped); err != nil {
			return err
		}
	}
	return nil
}
