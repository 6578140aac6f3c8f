package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// RunningError reports a machine that must be stopped for what is asked.
type RunningError struct{ ID string }

func (e *RunningError) Error() string { return fmt.Sprintf("machine %q runs", e.ID) }

// Remedy says how to stop it.
func (e *RunningError) Remedy() string { return fmt.Sprintf(`stop it with "stead stop %s"`, e.ID) }

// Move gives a stopped machine another name. Where only the new name is there nothing is
// left to do. A move that was cut between the folder's name and the one in its record is
// ended by the next one, or by Repair.
func (p *Provider) Move(ctx context.Context, from, to string) error {
	// Both locks in the order of names: two moves must not wait for each other.
	unlock, err := p.writeBoth(ctx, min(from, to), max(from, to))
	if err != nil {
		return err
	}
	defer unlock()
	old, b := p.bundle(from), p.bundle(to)
	switch {
	case !old.exists() && b.exists():
		return p.named(b, to)
	case !old.exists():
		return &NotFoundError{ID: from}
	case b.exists():
		return &ExistsError{ID: to}
	}
	if alive, err := old.supervised(); err != nil {
		return err
	} else if alive {
		return &RunningError{ID: from}
	}
	first, err := p.Default()
	if err != nil {
		return err
	}
	if err := os.Rename(old.dir, b.dir); err != nil {
		return err
	}
	if err := syncDir(p.machinesDir()); err != nil {
		return err
	}
	if err := p.named(b, to); err != nil {
		return err
	}
	if first == from {
		return p.SetDefault(to)
	}
	return nil
}

// named makes a bundle's record say the name of its folder. A record that cannot be read
// is a matter for Repair.
func (p *Provider) named(b bundle, id string) error {
	r, err := b.readRecord()
	if err != nil || r.Configuration.ID == id {
		return nil //nolint:nilerr // as said above
	}
	r.Configuration.ID = id
	return diskFull(b.writeRecord(r), b.dir)
}

// writeBoth makes the caller the one writer of two machines.
func (p *Provider) writeBoth(ctx context.Context, first, second string) (unlock func(), err error) {
	if first == second {
		return nil, errors.New("a machine cannot be moved to its own name")
	}
	one, err := p.write(ctx, first)
	if err != nil {
		return nil, err
	}
	two, err := p.write(ctx, second)
	if err != nil {
		one()
		return nil, err
	}
	return func() { two(); one() }, nil
}
