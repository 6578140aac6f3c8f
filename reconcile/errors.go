package reconcile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/machine"
)

// ClashError reports a declared machine whose name another owner's machine already has.
type ClashError struct {
	ID    string
	Owner machine.Owner // of the existing machine; zero: it belongs to no project
	Gone  bool          // the existing owner's project file does not exist any more
	Want  machine.Owner // the project that declares the name
}

func clash(m *machine.Machine, want machine.Owner) *ClashError {
	return &ClashError{ID: m.ID, Owner: m.Owner, Gone: m.OwnerGone, Want: want}
}

func (e *ClashError) Error() string {
	switch {
	case e.Owner == machine.Owner{}:
		return fmt.Sprintf("machine %q already exists and belongs to no project: it was created with \"stead machine create\"", e.ID)
	case e.Owner.File == e.Want.File:
		return fmt.Sprintf("machine %q belongs to project %q, the former name of this project", e.ID, e.Owner.Project)
	case e.Gone:
		return fmt.Sprintf("machine %q belongs to project %q, whose file %s no longer exists", e.ID, e.Owner.Project, e.Owner.File)
	default:
		return fmt.Sprintf("machine %q belongs to project %q (%s)", e.ID, e.Owner.Project, e.Owner.File)
	}
}

// Remedy says how to go on.
func (e *ClashError) Remedy() string {
	if e.Gone {
		return fmt.Sprintf(`run "stead adopt %s" to take it over with its disk, or, if this is the same project, set project = %q`, e.ID, e.Owner.Project)
	}
	force := ""
	if (e.Owner != machine.Owner{}) && e.Owner.File != e.Want.File {
		force = "--force "
	}
	return fmt.Sprintf(`run "stead adopt %s%s" to take it over with its disk, or choose another name`, force, e.ID)
}

// MoveError reports a machine that cannot be renamed, because its new name is taken.
type MoveError struct{ From, To string }

func (e *MoveError) Error() string {
	return fmt.Sprintf("cannot rename machine %q to %q: both exist", e.From, e.To)
}

// Remedy says how to go on.
func (e *MoveError) Remedy() string {
	return fmt.Sprintf(`remove one of them and its disk with "stead rm %s" or "stead rm %s", or remove the moved block`, e.From, e.To)
}

// PreventedError reports a plan that would lose a disk that prevent_destroy protects.
type PreventedError struct {
	ID     string
	Action Action
	Why    []AttrChange // for Replace: the differences, some of which force it
}

func (e *PreventedError) Error() string {
	text := fmt.Sprintf("machine %q has prevent_destroy = true, but the plan would %s it and destroy its disk", e.ID, e.Action)
	var why []string
	for _, a := range e.Why {
		if a.ForcesReplacement {
			why = append(why, a.plain())
		}
	}
	if len(why) > 0 {
		text += ": " + strings.Join(why, ", ")
	}
	return text
}

// Remedy says how to go on.
func (e *PreventedError) Remedy() string {
	if e.Action == Delete {
		return `declare the machine with prevent_destroy = false, run "stead apply", and then delete it`
	}
	return "undo the change that forces the replacement, or set prevent_destroy = false"
}

// UnknownError reports names that no machine of the project has.
type UnknownError struct{ IDs []string }

func (e *UnknownError) Error() string {
	return "the project has no " + machineNames(e.IDs)
}

// Remedy says how to list the names.
func (e *UnknownError) Remedy() string { return `run "stead status" to list the project's machines` }

// machineNames returns `machine "a"`, or `machines "a", "b"` for several.
func machineNames(ids []string) string {
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = strconv.Quote(id)
	}
	noun := "machine "
	if len(ids) != 1 {
		noun = "machines "
	}
	return noun + strings.Join(quoted, ", ")
}
