package reconcile

import (
	"fmt"
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// Action is what happens to one machine.
type Action uint8

// Actions, from nothing to the loss of a disk. Of two that one machine needs,
// the later one does the work of both.
const (
	None        Action = iota // it is as it should be; the zero value
	Create                    // it is not there
	Reconfigure               // its files change; it needs no restart, but a start if it is stopped
	Update                    // what differs applies while it runs
	Restart                   // it runs with settings that take a boot to change
	Move                      // it has another name; whatever else differs is done on the way
	Start                     // it is stopped, or still boots
	Stop                      // it runs and should not
	Repair                    // its files cannot be read; its disk is kept
	Replace                   // it must be made anew: its disk is lost
	Delete                    // nobody wants it any more: its disk is lost
	numActions
)

func (a Action) String() string {
	if a < numActions {
		return [...]string{
			"none", "create", "reconfigure", "update", "restart", "move", "start", "stop", "repair", "replace", "delete",
		}[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// MarshalText writes an action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an action's name.
func (a *Action) UnmarshalText(text []byte) error {
	for known := range numActions {
		if known.String() == string(text) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("there is no action %q", text)
}

// LosesDisk tells whether the action destroys data.
func (a Action) LosesDisk() bool { return a == Replace || a == Delete }

// AttrChange is one difference between what is and what should be.
type AttrChange struct {
	Name              string // as machines.hcl spells it, or "digest", "platform", "user", "file", "replacement"
	Old, New          string // as text; empty: the default, or an empty list
	List              bool   // Old and New are lists, joined by ", "
	ForcesReplacement bool
	Pending           bool // it is written, and waits for the next restart
}

// Change is what happens to one machine, and why.
type Change struct {
	ID       string
	Action   Action
	Attrs    []AttrChange     // what differs; for Create what it is made with
	Want     *machine.Spec    // nil for Delete, and for Stop by hand
	Have     *machine.Machine // nil for Create
	From     string           // the name that it had; empty: this one
	Stopped  bool             // it does not run in the end
	After    []string         // IDs of the machines whose changes come first
	DataLost int64            // bytes on the disk that a Replace or Delete loses

	// DriftOnly: the file asks for nothing new; the change takes back what somebody did.
	DriftOnly bool
}

// Plan is one change for each machine that is wanted or owned, sorted by ID.
// Machines that need nothing are in it with the action None.
type Plan struct {
	Changes []Change
	Drift   []Drift // what was changed outside of the file, sorted by ID

	DriftOnly bool // it is about Drift alone; see [Accept]
}

// OnlyDrift is the plan without changes.
func (p Plan) OnlyDrift() Plan { return Plan{Drift: p.Drift, DriftOnly: true} }

// Count tells how many machines have one of the given actions.
func (p Plan) Count(actions ...Action) int {
	n := 0
	for _, c := range p.Changes {
		if slices.Contains(actions, c.Action) {
			n++
		}
	}
	return n
}

// Empty tells whether there is nothing to do.
func (p Plan) Empty() bool { return p.Count(None) == len(p.Changes) }

// pending tells whether something is written and waits for a restart.
func (p Plan) pending() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool {
		return slices.ContainsFunc(c.Attrs, func(a AttrChange) bool { return a.Pending })
	})
}

// Destructive tells whether a disk would be lost.
func (p Plan) Destructive() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action.LosesDisk() })
}
