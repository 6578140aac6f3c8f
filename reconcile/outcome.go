package reconcile

import "slices"

// Outcome is what came of a plan, as its events tell. The zero value has seen none.
type Outcome struct {
	ends []Event // Done and Failed, in their order
}

// Add takes an event into account.
func (o *Outcome) Add(e Event) {
	if e.Kind == Done || e.Kind == Failed {
		o.ends = append(o.ends, e)
	}
}

// Count tells how many changes of the given actions were done.
func (o *Outcome) Count(actions ...Action) int {
	n := 0
	for _, e := range o.ends {
		if e.Kind == Done && slices.Contains(actions, e.Action) {
			n++
		}
	}
	return n
}

// Failed are the IDs of the machines whose changes failed, in their order.
func (o *Outcome) Failed() []string {
	var ids []string
	for _, e := range o.ends {
		if e.Kind == Failed {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// NotBegun are the IDs of the machines of p whose changes were not begun.
func (o *Outcome) NotBegun(p Plan) []string {
	var ids []string
	for _, c := range p.Changes {
		if c.Action != None && !slices.ContainsFunc(o.ends, func(e Event) bool { return e.ID == c.ID }) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}
