package bundle

import (
	"errors"
	"os"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/space"
)

// Create creates the bundle of a new machine. The caller holds the machine's lock. fill writes
// the files to a temporary directory, which is then renamed: on failure nothing is left.
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

// Replace creates a new bundle for a machine and removes the old one. The caller holds the
// machine's lock. Replace calls ready once the new bundle is complete, and changes the old one
// only if ready succeeds.
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

// Delete removes the bundle of a machine. The caller holds the machine's lock.
func (s *Store) Delete(id string) error {
	trash, err := s.discard(id)
	if err != nil {
		return err
	}
	return os.RemoveAll(trash)
}

// Move renames the bundle of a stopped machine. The caller holds the locks of both names. The
// new name is first written to the record, so an interrupted move leaves the machine complete
// under the old or the new name. Move finishes an interrupted move.
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

// rename also updates the default machine. It does so first: in between, the default is a name
// without a machine, which counts as no default.
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
		return nil //nolint:nilerr // see above
	}
	r.Stead.Moving = to
	return space.Explain(b.WriteRecord(r), b.Dir)
}

// finishMove sets the name in the record to the announced one.
func (b Bundle) finishMove() error {
	r, err := b.Record()
	if err != nil || r.Stead.Moving == "" {
		return nil //nolint:nilerr // as in announceMove
	}
	r.Stead.Moving = ""
	return space.Explain(b.WriteRecord(r), b.Dir)
}
