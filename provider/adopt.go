package provider

import (
	"context"
	"fmt"
)

// OwnedError reports a machine of a project that is still there.
type OwnedError struct {
	ID    string
	Owner Owner
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("machine %q belongs to project %q (%s)", e.ID, e.Owner.Project, e.Owner.File)
}

// Remedy says how to take it all the same.
func (e *OwnedError) Remedy() string {
	return fmt.Sprintf("if that project does not need it any more, take it out of its file and use `stead adopt --force %s`", e.ID)
}

// Adopt makes a machine, running or not, belong to owner. Nothing else about it changes.
// A person's machine can be adopted, and one of a project whose file is gone or is
// owner's; one of another project only by force, else the error is an [*OwnedError].
func (p *Provider) Adopt(ctx context.Context, id string, owner Owner, force bool) error {
	unlock, err := p.existing(ctx, id, "adopting", nil)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.bundle(id)
	r, err := b.readRecord()
	if err != nil {
		return err
	}
	switch was := r.owner(); {
	case was == owner:
		return nil
	case !force && was.File != "" && was.File != owner.File && !was.gone():
		return &OwnedError{ID: id, Owner: was}
	}
	r.Stead.Project, r.Stead.File = owner.Project, owner.File
	return diskFull(b.writeRecord(r), b.dir)
}
