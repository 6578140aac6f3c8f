package reconcile

import (
	"fmt"
	"strings"

	"github.com/stead-vm/stead/provider/machine"
)

// ClashError says that a wanted name belongs to somebody else's machine.
type ClashError struct {
	ID    string
	Owner machine.Owner // whose it is; zero: a person's
	Gone  bool          // the owner's file is not there any more
	Want  machine.Owner // who wants the name
}

func clash(m *machine.Machine, want machine.Owner) *ClashError {
	return &ClashError{ID: m.ID, Owner: m.Owner, Gone: m.OwnerGone, Want: want}
}

func (e *ClashError) Error() string {
	switch {
	case e.Owner == machine.Owner{}:
		return fmt.Sprintf("machine %q exists already and belongs to no project: somebody made it by hand", e.ID)
	case e.Owner.File == e.Want.File:
		return fmt.Sprintf("machine %q belongs to project %q, which is what this file was called before", e.ID, e.Owner.Project)
	case e.Gone:
		return fmt.Sprintf("machine %q belongs to project %q, whose file %s is gone", e.ID, e.Owner.Project, e.Owner.File)
	default:
		return fmt.Sprintf("machine %q belongs to project %q (%s)", e.ID, e.Owner.Project, e.Owner.File)
	}
}

// Remedy says how to go on.
func (e *ClashError) Remedy() string {
	if e.Gone {
		return fmt.Sprintf("if this is that project, moved, take the machine over by `stead adopt %s`, or write project = %q", e.ID, e.Owner.Project)
	}
	how := ""
	if (e.Owner != machine.Owner{}) && e.Owner.File != e.Want.File {
		how = "--force "
	}
	return fmt.Sprintf("take it over with its disk by `stead adopt %s%s`, or choose another name", how, e.ID)
}

// MoveError says that a machine cannot get its new name.
type MoveError struct{ From, To string }

func (e *MoveError) Error() string {
	return fmt.Sprintf("machine %q cannot become %q: both exist", e.From, e.To)
}

// Remedy says how to go on.
func (e *MoveError) Remedy() string {
	return fmt.Sprintf("keep one of them: `stead rm %s` or `stead rm %s`, which loses its disk, or take the moved block out", e.From, e.To)
}

// PreventedError says that a plan would lose a disk that must not be lost.
type PreventedError struct {
	ID     string
	Action Action
	Why    []AttrChange // what a Replace is needed for
}

func (e *PreventedError) Error() string {
	text := fmt.Sprintf("machine %q would lose its disk (%s), and prevent_destroy forbids that", e.ID, e.Action)
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
		return "declare the machine again with prevent_destroy = false, apply that, and then take it out"
	}
	return "leave what it needs as it was, or set prevent_destroy = false"
}

// UnknownError says that a plan was asked for machines that it is not about.
type UnknownError struct{ IDs []string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("the project has no machine %s", strings.Join(e.IDs, ", "))
}

// Remedy says where names are.
func (e *UnknownError) Remedy() string { return `"stead status" lists the project's machines` }
