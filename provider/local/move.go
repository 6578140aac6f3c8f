package local

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/space"
)

// Move renames a stopped machine. It does nothing if only the new name exists. expect is as for
// Replace.
func (p *Provider) Move(ctx context.Context, from, to string, expect *machine.Identity) error {
	unlock, err := p.Bundles.Locks().Both(ctx, from, to, "renaming")
	if err != nil {
		return err
	}
	defer unlock()
	before, after := p.Bundles.Bundle(from), p.Bundles.Bundle(to)
	switch {
	case !before.Exists() && after.Exists():
		if err := p.Bundles.Expect(to, expect); err != nil {
			return err
		}
		return p.Bundles.Move(from, to)
	case !before.Exists() && expect == nil:
		return &machine.NotFoundError{ID: from}
	case after.Exists():
		return &machine.ExistsError{ID: to}
	}
	if err := p.Bundles.Expect(from, expect); err != nil {
		return err
	}
	if alive, err := before.Supervised(); err != nil {
		return err
	} else if alive {
		return &machine.RunningError{ID: from}
	}
	return p.Bundles.Move(from, to)
}

// Adopt makes a machine, running or not, belong to owner, and changes nothing else. The machine
// must belong to no project, to one whose file is gone, or to one with owner's file. Adopting
// from another project needs force, else the error is a [*machine.OwnedError].
func (p *Provider) Adopt(ctx context.Context, id string, owner machine.Owner, force bool) error {
	unlock, err := p.Bundles.Locks().Existing(ctx, id, "adopting", nil)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.Bundles.Bundle(id)
	r, err := b.Record()
	if err != nil {
		return err
	}
	switch was := r.Owner(); {
	case was == owner:
		return nil
	case !force && was.File != "" && was.File != owner.File && !p.Machines.files.gone(ctx, was):
		return &machine.OwnedError{ID: id, Owner: was}
	}
	r.Stead.Project, r.Stead.File = owner.Project, owner.File
	return space.Explain(b.WriteRecord(r), b.Dir)
}
