package reconcile

import "slices"

// Outcome is the result of applying a plan, collected from its events. The zero value is
// an outcome without events.
type Outcome struct {
	ends []Event // Done and Failed, in the order of their arrival
}

// Add takes an event into account.
func (o *Outcome) Add(e Event) {
	if e.Kind == Done || e.Kind == Failed {
		o.ends = append(o.ends, e)
	}
}

// Count returns how many changes of the given actions succeeded.
func (o *Outcome) Count(actions ...Action) int {
	n := 0
	for _, e := range o.ends {
		if e.Kind == Done && slices.Contains(actions, e.Action) {
			n++
		}
	}
	return n
}

// Done reports whether a change of the machine was made.
func (o *Outcome) Done(id string) bool {
	return slices.ContainsFunc(o.ends, func(e Event) bool { return e.Kind == Done && e.ID == id })
}

// Failed returns the IDs of the machines whose changes failed, in the order of the failures.
func (o *Outcome) Failed() []string {
	var ids []string
	for _, e := range o.ends {
		if e.Kind == Failed {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// NotBegun returns the IDs of the machines of p whose changes were not started.
func (o *Outcome) NotBegun(p Plan) []string {
	var ids []string
	for _, c := range p.Changes {
		if c.Action != None && !slices.ContainsFunc(o.ends, func(e Event) bool { return e.ID == c.ID }) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Changed reports whether a change was made, or has failed on the way.
func (o *Outcome) Changed() bool { return len(o.ends) > 0 }
