package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/space"
)

// Store is the set of bundles in a state directory. It is safe for concurrent use, also by
// several processes.
type Store struct {
	home   string
	locker *lock.Locker
	log    *slog.Logger
}

// NewStore opens the bundles of the state directory home, which it creates if it does not
// exist. locker takes the locks.
func NewStore(home string, locker *lock.Locker) (*Store, error) {
	home, err := filepath.Abs(home)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(home, "machines"), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	// Resolve links, because the paths of sockets are derived from this path.
	if home, err = filepath.EvalSymlinks(home); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &Store{home: home, locker: locker, log: cmp.Or(locker.Log, slog.New(slog.DiscardHandler))}, nil
}

// Home returns the state directory, absolute and without links.
func (s *Store) Home() string { return s.home }

func (s *Store) dir() string { return filepath.Join(s.home, "machines") }

// Bundle returns the bundle of a machine, which need not exist.
func (s *Store) Bundle(id string) Bundle { return Bundle{filepath.Join(s.dir(), id)} }

// Existing returns the bundle of a machine, or a [*machine.NotFoundError].
func (s *Store) Existing(id string) (Bundle, error) {
	if b := s.Bundle(id); machine.ValidID(id) && b.Exists() {
		return b, nil
	}
	return Bundle{}, &machine.NotFoundError{ID: id}
}

// IDs lists the names of all bundles, readable or not. Names that begin with a dot are
// locks and half-made or half-removed bundles.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Identify reads the record of the machine id. It is an error if the record has another name.
func (s *Store) Identify(id string) (Record, error) {
	b := s.Bundle(id)
	r, err := b.Record()
	if err != nil {
		return Record{}, err
	}
	if r.Configuration.ID != id {
		return Record{}, &DamagedError{Path: b.Path(ConfigFile), Err: fmt.Errorf("it describes machine %q", r.Configuration.ID)}
	}
	return r, nil
}

// Expect returns a [*machine.ChangedError] unless the machine id has the identity want. nil
// allows any machine, and none. The caller holds the machine's lock.
func (s *Store) Expect(id string, want *machine.Identity) error {
	if want == nil {
		return nil
	}
	if !s.Bundle(id).Exists() {
		return &machine.ChangedError{ID: id, What: "was removed"}
	}
	found := &machine.Identity{} // for an unreadable machine
	if r, err := s.Identify(id); err == nil {
		found = &machine.Identity{Owner: r.Owner(), Digest: r.Configuration.Image.Digest, Created: r.CreatedDate}
	}
	return want.Expect(id, found)
}

// stateFile is state.json: {"defaultMachine": "dev"} (Apple's name and key).
const stateFile = "state.json"

type state struct {
	DefaultMachine string `json:"defaultMachine,omitempty"`
}

// Default returns the machine that commands without a machine name use, or "" if there is none. A
// damaged file is none, because it must not stop commands that do not need it.
func (s *Store) Default() (string, error) {
	path := filepath.Join(s.home, stateFile)
	data, err := regular.ReadFile(path, maxJSON)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var st state
	if err := json.Unmarshal(data, &st); err != nil {
		s.log.Warn("there is no default machine, because its file is damaged; remove the file", "path", path, "err", err)
		return "", nil
	}
	if !s.Bundle(st.DefaultMachine).Exists() {
		return "", nil
	}
	return st.DefaultMachine, nil
}

// SetDefault makes id the default machine.
func (s *Store) SetDefault(id string) error {
	if _, err := s.Existing(id); err != nil {
		return err
	}
	return s.writeDefault(id)
}

func (s *Store) writeDefault(id string) error {
	home := Bundle{s.home}
	err := home.mergeJSON(stateFile, state{DefaultMachine: id})
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		if err = home.aside(stateFile); err == nil {
			err = home.mergeJSON(stateFile, state{DefaultMachine: id})
		}
	}
	return space.Explain(err, s.home)
}

// defaultIfFirst makes id the default machine if there is none.
func (s *Store) defaultIfFirst(id string) error {
	current, err := s.Default()
	if err != nil || current != "" {
		return err
	}
	return s.SetDefault(id)
}

// MadeFrom returns the names of the machines created from each image, by digest. Machines with
// unreadable records are listed under "".
func (s *Store) MadeFrom() (map[string][]string, error) {
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	made := map[string][]string{}
	for _, id := range ids {
		r, err := s.Bundle(id).Record()
		digest := r.Configuration.Image.Digest
		if err != nil {
			digest = ""
		}
		made[digest] = append(made[digest], id)
	}
	return made, nil
}
