package provider

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stead-vm/stead/provider/durable"
)

// RunningError reports a machine that must be stopped for what is asked.
type RunningError struct{ ID string }

func (e *RunningError) Error() string { return fmt.Sprintf("machine %q runs", e.ID) }

// Remedy says how to stop it.
func (e *RunningError) Remedy() string { return fmt.Sprintf(`stop it with "stead stop %s"`, e.ID) }

// Move gives a stopped machine another name. Where only the new name is there nothing is
// left to do. Another machine than expected is left alone, as by Replace.
//
// Its record says first which name is to come, so that wherever a move is cut the machine
// is whole: under the old name, or under the new one.
func (p *Provider) Move(ctx context.Context, from, to string, expect *Identity) error {
	// Both locks in the order of names: two moves must not wait for each other.
	unlock, err := p.writeBoth(ctx, min(from, to), max(from, to))
	if err != nil {
		return err
	}
	defer unlock()
	old, b := p.bundle(from), p.bundle(to)
	switch {
	case !old.exists() && b.exists():
		if err := p.expect(to, expect); err != nil {
			return err
		}
		return b.moved()
	case !old.exists() && expect == nil:
		return &NotFoundError{ID: from}
	case b.exists():
		return &ExistsError{ID: to}
	}
	if err := p.expect(from, expect); err != nil {
		return err
	}
	if alive, err := old.supervised(); err != nil {
		return err
	} else if alive {
		return &RunningError{ID: from}
	}
	if err := old.moving(to); err != nil {
		return err
	}
	if err := p.rename(from, to); err != nil {
		return err
	}
	return b.moved()
}

// rename gives a bundle another name. The default machine stays the default: that is
// written first, for a name without a machine means no default, and not another one.
func (p *Provider) rename(from, to string) error {
	first, err := p.Default()
	if err != nil {
		return err
	}
	if first == from {
		if err := p.writeDefault(to); err != nil {
			return err
		}
	}
	if err := os.Rename(p.bundle(from).dir, p.bundle(to).dir); err != nil {
		if first == from {
			err = errors.Join(err, p.writeDefault(from))
		}
		return err
	}
	return durable.SyncDir(p.machinesDir())
}

// moving announces a bundle's next name. A record that cannot be read is a matter for
// Repair, which writes it anew.
func (b bundle) moving(to string) error {
	r, err := b.readRecord()
	if err != nil {
		return nil //nolint:nilerr // as said above
	}
	r.Stead.Moving = to
	return diskFull(b.writeRecord(r), b.dir)
}

// moved makes a bundle's record say the name that was announced.
func (b bundle) moved() error {
	r, err := b.readRecord()
	if err != nil || r.Stead.Moving == "" {
		return nil //nolint:nilerr // as in moving
	}
	r.Stead.Moving = ""
	return diskFull(b.writeRecord(r), b.dir)
}

// writeBoth makes the caller the one writer of two machines.
func (p *Provider) writeBoth(ctx context.Context, first, second string) (unlock func(), err error) {
	if first == second {
		return nil, errors.New("a machine cannot be moved to its own name")
	}
	one, err := p.write(ctx, first, "renaming")
	if err != nil {
		return nil, err
	}
	two, err := p.write(ctx, second, "renaming")
	if err != nil {
		one()
		return nil, err
	}
	return func() { two(); one() }, nil
}
