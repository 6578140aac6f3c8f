package machine

import (
	"fmt"
	"time"
)

// Identity distinguishes a machine from others that have or had its name. A machine whose
// record cannot be read has the zero Identity.
type Identity struct {
	Owner   Owner
	Digest  string
	Created time.Time
}

// Identity returns the identity of m.
func (m *Machine) Identity() *Identity {
	return &Identity{Owner: m.Owner, Digest: m.Digest, Created: m.Created}
}

// Equal reports whether both are the same machine.
func (i *Identity) Equal(other *Identity) bool {
	return i.Owner == other.Owner && i.Digest == other.Digest && i.Created.Equal(other.Created)
}

// ChangedError reports that a machine is no longer the one that a plan was made for. The
// machine was not touched.
type ChangedError struct {
	ID   string
	What string // "was removed"
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("machine %q %s since the plan was made", e.ID, e.What)
}

// Remedy says what to do.
func (e *ChangedError) Remedy() string {
	return "run the command again to make a new plan; nothing was changed"
}

// Expect compares i with is, the identity of the machine that has the name id now. It returns
// a [*ChangedError] unless they are equal.
func (i *Identity) Expect(id string, is *Identity) error {
	switch {
	case is.Equal(i):
		return nil
	case is.Owner != i.Owner && is.Owner != Owner{}:
		return &ChangedError{ID: id, What: "was taken over by " + is.Owner.String()}
	case is.Owner == i.Owner && is.Digest != "":
		return &ChangedError{ID: id, What: "was created again"}
	}
	return &ChangedError{ID: id, What: "changed"}
}
