package reconcile

import (
	"fmt"
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// Action is the kind of a change to one machine.
type Action uint8

// Actions, ordered by effect. If a machine needs two of them, the later one includes the
// earlier one.
const (
	None        Action = iota // no change is needed; the zero value
	Create                    // the machine does not exist
	Reconfigure               // only its files change; it is started if it is stopped
	Update                    // the differences can be applied while it runs
	Restart                   // it runs, and the differences need a boot
	Move                      // it is renamed, and other differences are applied along the way
	Start                     // it is stopped or still boots
	Stop                      // it runs and should be stopped
	Repair                    // its files cannot be read; its disk is kept
	Replace                   // it is removed and created again; its disk is lost
	Delete                    // the file no longer declares it; its disk is lost
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

// MarshalText returns the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses an action's name.
func (a *Action) UnmarshalText(text []byte) error {
	for known := range numActions {
		if known.String() == string(text) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("unknown action %q", text)
}

// LosesDisk reports whether the action destroys the machine's disk.
func (a Action) LosesDisk() bool { return a == Replace || a == Delete }

// AttrChange is one difference between the machine and its goal.
type AttrChange struct {
	Name              string // as machines.hcl spells it, or "digest", "platform", "user_ids", "file", "replacement", "build context"
	Old, New          string // as text; empty: the default, or an empty list
	List              bool   // Old and New are lists, joined by ", "
	ForcesReplacement bool
	Pending           bool // written to the files; applies at the next restart
}

// Change is the planned change of one machine.
type Change struct {
	ID       string
	Action   Action
	Attrs    []AttrChange     // the differences; for Create, the new machine's attributes
	Want     *machine.Spec    // nil for Delete, and for the Stop of [Halt]
	Have     *machine.Machine // nil for Create
	From     string           // the machine's current name if it is renamed, else empty
	Stopped  bool             // the machine is stopped in the end
	After    []string         // IDs of the machines whose changes come first
	DataLost int64            // bytes used on the disk that a Replace or Delete loses

	DriftOnly bool // the change only reverts drift
}

// Plan has one change for each machine that the project declares or owns, sorted by ID.
// Machines that need no change have the action None.
type Plan struct {
	Changes []Change
	Drift   []Drift // changes made outside of the project file, sorted by ID

	DriftOnly bool // the plan only accepts Drift; see [Accept]
	Teardown  bool // the plan deletes machines whatever the file says; see [Destroy]
}

// OnlyDrift returns the plan without changes, to be accepted with [Accept].
func (p Plan) OnlyDrift() Plan { return Plan{Drift: p.Drift, DriftOnly: true} }

// Count returns how many machines have one of the given actions.
func (p Plan) Count(actions ...Action) int {
	n := 0
	for _, c := range p.Changes {
		if slices.Contains(actions, c.Action) {
			n++
		}
	}
	return n
}

// Empty reports whether no machine needs a change.
func (p Plan) Empty() bool { return p.Count(None) == len(p.Changes) }

// pending reports whether a setting needs a restart to apply.
func (p Plan) pending() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool {
		return slices.ContainsFunc(c.Attrs, func(a AttrChange) bool { return a.Pending })
	})
}

// Destructive reports whether a disk would be lost.
func (p Plan) Destructive() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action.LosesDisk() })
}
