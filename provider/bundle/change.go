package bundle

import (
	"errors"
	"os"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/space"
)

// Create makes the bundle of a new machine, whose lock is held. fill writes its files
// under a temporary name, which is then renamed: on failure nothing is left.
func (s *Store) Create(id string, fill func(Bundle) error) error {
	made, err := s.assemble(id, fill)
	if err != nil {
		return err
	}
	if err := os.Rename(made.Dir, s.Bundle(id).Dir); err != nil {
		return errors.Join(err, os.RemoveAll(made.Dir))
	}
	if err := durable.SyncDir(s.dir()); err != nil {
		return err
	}
	return s.defaultIfFirst(id)
}

// Replace makes another bundle for a machine, whose lock is held, and removes the old
// one. Once the new one is whole, ready is called; only when that succeeds is the old one
// touched.
func (s *Store) Replace(id string, fill func(Bundle) error, ready func() error) error {
	made, err := s.assemble(id, fill)
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return errors.Join(err, os.RemoveAll(made.Dir))
	}
	trash, err := s.discard(id)
	if err != nil {
		return errors.Join(err, os.RemoveAll(made.Dir))
	}
	if err := os.Rename(made.Dir, s.Bundle(id).Dir); err != nil {
		return errors.Join(err, os.Rename(trash, s.Bundle(id).Dir), os.RemoveAll(made.Dir))
	}
	return errors.Join(durable.SyncDir(s.dir()), os.RemoveAll(trash))
}

func (s *Store) assemble(id string, fill func(Bundle) error) (Bundle, error) {
	dir, err := os.MkdirTemp(s.dir(), newPrefix+id+".*")
	if err != nil {
		return Bundle{}, space.Explain(err, s.home)
	}
	if err := fill(Bundle{dir}); err != nil {
		return Bundle{}, errors.Join(space.Explain(err, s.home), os.RemoveAll(dir))
	}
	return Bundle{dir}, nil
}

// Delete removes the bundle of a machine, whose lock is held.
func (s *Store) Delete(id string) error {
	trash, err := s.discard(id)
	if err != nil {
		return err
	}
	return os.RemoveAll(trash)
}

// Move renames the bundle of a stopped machine; both names are locked. The record
// announces the name first: wherever a move is cut, the machine is whole under the old
// name or under the new one. Move finishes one that was cut.
func (s *Store) Move(from, to string) error {
	if s.Bundle(from).Exists() {
		if err := s.Bundle(from).announceMove(to); err != nil {
			return err
		}
		if err := s.rename(from, to); err != nil {
			return err
		}
	}
	return s.Bundle(to).finishMove()
}

// rename keeps the default machine the default. That is written first: a name without a
// machine means no default, and never another machine.
func (s *Store) rename(from, to string) error {
	first, err := s.Default()
	if err != nil {
		return err
	}
	if first == from {
		if err := s.writeDefault(to); err != nil {
			return err
		}
	}
	if err := os.Rename(s.Bundle(from).Dir, s.Bundle(to).Dir); err != nil {
		if first == from {
			err = errors.Join(err, s.writeDefault(from))
		}
		return err
	}
	return durable.SyncDir(s.dir())
}

// announceMove records a bundle's next name. A record that cannot be read stays as it is:
// a repair writes it again.
func (b Bundle) announceMove(to string) error {
	r, err := b.Record()
	if err != nil {
		return nil //nolint:nilerr // as said above
	}
	r.Stead.Moving = to
	return space.Explain(b.WriteRecord(r), b.Dir)
}

// finishMove makes a bundle's record say the name that was announced.
func (b Bundle) finishMove() error {
	r, err := b.Record()
	if err != nil || r.Stead.Moving == "" {
		return nil //nolint:nilerr // as in announceMove
	}
	r.Stead.Moving = ""
	return space.Explain(b.WriteRecord(r), b.Dir)
}
