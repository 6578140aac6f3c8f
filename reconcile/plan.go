package reconcile

import (
	"fmt"
	"slices"

	"github.com/stead-vm/stead/provider"
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
			"none", "create", "reconfigure", "update", "restart", "start", "stop", "repair", "replace", "delete",
		}[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// LosesDisk tells whether the action destroys data.
func (a Action) LosesDisk() bool { return a == Replace || a == Delete }

// AttrChange is one difference between what is and what should be.
type AttrChange struct {
	Name              string // as machines.hcl spells it, or "digest", "platform", "user"
	Old, New          string // as text; empty: the default, or an empty list
	List              bool   // Old and New are lists, joined by ", "
	ForcesReplacement bool
}

// Change is what happens to one machine, and why.
type Change struct {
	ID       string
	Action   Action
	Attrs    []AttrChange      // what differs; for Create what it is made with
	Want     *provider.Spec    // nil for Stop and Delete
	Have     *provider.Machine // nil for Create
	DataLost int64             // bytes on the disk that a Replace or Delete loses
}

// Plan is one change for each machine that is wanted or owned, sorted by ID.
// Machines that need nothing are in it with the action None.
type Plan struct {
	Changes []Change
}

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

// Destructive tells whether a disk would be lost.
func (p Plan) Destructive() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action.LosesDisk() })
}
