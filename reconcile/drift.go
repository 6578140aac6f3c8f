package reconcile

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
)

// Drift is how one machine was changed outside of the project file since the last apply,
// as far as it still differs from the file.
type Drift struct {
	ID    string
	What  string       // text to show, such as "was removed" or "was stopped"; empty: see Attrs
	Attrs []AttrChange // from the applied value to the one found
}

// drift compares the machines that the host has with how the last apply left them.
func (s *Situation) drift(have inventory, targets map[string]bool) []Drift {
	var drifts []Drift
	for _, id := range sortedKeys(s.Applied) {
		w, applied := s.goal(id), s.Applied[id]
		if w == nil || targets != nil && !targets[id] {
			continue // not in the plan
		}
		d := Drift{ID: id}
		switch m := have[id]; {
		case m == nil:
			d.What = "was removed"
		case !owns(s.Owner, m):
			d.What = "no longer belongs to this project"
		case m.State == machine.Broken:
			d.What = "has unreadable files"
		default:
			d.What, d.Attrs = machineDrift(&applied, w, m)
		}
		if d.What != "" || len(d.Attrs) > 0 {
			drifts = append(drifts, d)
		}
	}
	return drifts
}

// machineDrift returns how an existing machine differs from how the last apply left it,
// where it also differs from the file.
func machineDrift(applied *machine.Baseline, w *Goal, m *machine.Machine) (what string, attrs []AttrChange) {
	switch {
	case !applied.Created.IsZero() && !m.Created.Equal(applied.Created):
		what = "was created again"
	case !applied.Stopped && m.State == machine.Stopped && !w.Stopped:
		what = "was stopped"
	case applied.Stopped && m.Active() && w.Stopped:
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

// driftOnly reports whether the change only reverts drift: it would not be planned if the
// machine were as the last apply left it.
func (s *Situation) driftOnly(c *Change, w *Goal) bool {
	applied, ok := s.Applied[w.ID]
	if !ok || c.Action == None || c.From != "" {
		return false
	}
	left := machine.Machine{Spec: applied.Spec, State: machine.Running, Booted: &applied.Settings}
	if applied.Stopped {
		left.State, left.Booted = machine.Stopped, nil
	}
	undrifted := Change{ID: w.ID}
	s.compare(&undrifted, w, &left)
	return undrifted.Action == None
}

// Accept records the found state as applied, for every machine with drift in the plan. It
// changes no machine.
func Accept(ctx context.Context, prov Provider, s Situation, p Plan) error {
	have, err := s.inventory()
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
