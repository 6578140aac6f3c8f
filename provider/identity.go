package provider

import (
	"fmt"
	"time"
)

// Identity tells a machine from another one that has, or had, its name. That of a machine
// whose record cannot be read is the zero Identity.
type Identity struct {
	Owner   Owner
	Digest  string
	Created time.Time
}

// Identity is the machine that was found.
func (m *Machine) Identity() *Identity {
	return &Identity{Owner: m.Owner, Digest: m.Digest, Created: m.Created}
}

func (i *Identity) equal(other *Identity) bool {
	return i.Owner == other.Owner && i.Digest == other.Digest && i.Created.Equal(other.Created)
}

// ChangedError reports that a machine is not any more the one that a plan was made for.
// Nothing was done to it.
type ChangedError struct {
	ID   string
	What string // "was removed"
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("machine %q %s since the plan was made", e.ID, e.What)
}

// Remedy says how to go on.
func (e *ChangedError) Remedy() string {
	return "nothing was done to it: run the command again, which makes a new plan"
}

// expect compares the machine named id, whose lock is held, with the one that the caller
// has in mind; nil is whatever there is.
func (p *Provider) expect(id string, want *Identity) error {
	if want == nil {
		return nil
	}
	if !p.bundle(id).exists() {
		return &ChangedError{ID: id, What: "was removed"}
	}
	found := Machine{Spec: Spec{ID: id}}
	_ = p.identify(&found) // what cannot be read has the zero Identity
	is := found.Identity()
	switch {
	case is.equal(want):
		return nil
	case is.Owner != want.Owner && is.Owner != Owner{}:
		return &ChangedError{ID: id, What: "was taken over by " + is.Owner.String()}
	case is.Owner == want.Owner && is.Digest != "":
		return &ChangedError{ID: id, What: "was made anew"}
	}
	return &ChangedError{ID: id, What: "changed"}
}
