package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/space"
)

// Notes record how the last apply of a project left its machines, in
// projects/<key>/<id>.json. A plan uses them only to report drift, so they may be deleted at
// any time. Each machine has its own file, so that writing one does not take longer in a large
// project.
type Notes struct {
	store *Store
	owner machine.Owner
}

// Notes returns the notes about the machines of owner.
func (s *Store) Notes(owner machine.Owner) Notes { return Notes{store: s, owner: owner} }

// projectRecord is the format of a note.
type projectRecord struct {
	Version int            `json:"version"`
	Project string         `json:"project"`
	File    string         `json:"file"`
	Machine appliedMachine `json:"machine"`
}

const projectRecordVersion = 1

type appliedMachine struct {
	Image          Image             `json:"image"`
	Platform       platform.Platform `json:"platform"`
	User           User              `json:"user"`
	Settings       bootConfig        `json:"settings"`
	Stopped        bool              `json:"stopped,omitempty"`
	PreventDestroy bool              `json:"preventDestroy,omitempty"`
	Created        time.Time         `json:"created"`
}

// projectPath returns the path of a project's notes, lock and so on. Its name is derived from
// the path of the project file.
func projectPath(home, file, ending string) string {
	sum := sha256.Sum256([]byte(file))
	return filepath.Join(home, "projects", hex.EncodeToString(sum[:8])+ending)
}

func (n Notes) dir() string { return projectPath(n.store.home, n.owner.File, "") }

func (n Notes) path(id string) string { return filepath.Join(n.dir(), id+".json") }

// Applied returns how the last apply left the machines, by ID. It is empty for a project
// that was never applied.
func (n Notes) Applied() (map[string]machine.Baseline, error) {
	dir := n.dir()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	applied := make(map[string]machine.Baseline, len(entries))
	var unusable error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !machine.ValidID(id) {
			continue // being written
		}
		m, err := n.read(id)
		if err != nil {
			unusable = err
			continue
		}
		if applied[id], err = m.applied(n.owner, id); err != nil {
			delete(applied, id)
			unusable = err
		}
	}
	if unusable != nil {
		n.store.log.Warn("cannot read a note of the last apply: plans may miss changes made by hand", "dir", dir, "err", unusable)
	}
	return applied, nil
}

func (m *appliedMachine) applied(o machine.Owner, id string) (machine.Baseline, error) {
	settings, err := m.Settings.settings()
	return machine.Baseline{
		Spec: machine.Spec{
			ID: id, Image: m.Image.Reference, Digest: m.Image.Digest, Platform: m.Platform,
			User:  machine.User{Name: m.User.Username, UID: m.User.UID, GID: m.User.GID},
			Owner: o, Settings: settings, PreventDestroy: m.PreventDestroy,
		},
		Stopped: m.Stopped, Created: m.Created,
	}, err
}

// read reads the note about one machine.
func (n Notes) read(id string) (appliedMachine, error) {
	path := n.path(id)
	data, err := regular.ReadFile(path, maxJSON)
	if err != nil {
		return appliedMachine{}, err
	}
	var r projectRecord
	err = json.Unmarshal(data, &r)
	if err == nil && (r.Version != projectRecordVersion || r.Project != n.owner.Project) {
		err = fmt.Errorf("version %d, of project %q", r.Version, r.Project)
	}
	if err != nil {
		return appliedMachine{}, fmt.Errorf("%s: %w", path, err)
	}
	return r.Machine, nil
}

// Write records how an apply left the machine, or, if s is nil, that the project no longer has
// a machine of this name.
func (n Notes) Write(id string, s *machine.Spec, stopped bool) error {
	path := n.path(id)
	if s == nil {
		return removeIfExists(path)
	}
	now := appliedMachine{
		Image: Image{Digest: s.Digest, Reference: s.Image}, Platform: s.Platform,
		User:     User{Username: s.User.Name, UID: s.User.UID, GID: s.User.GID},
		Settings: bootConfigOf(s.Settings), Stopped: stopped, PreventDestroy: s.PreventDestroy,
	}
	// The digest of a built image was not known when it was planned.
	if found, err := n.store.Bundle(id).Record(); err == nil {
		now.Created, now.Image.Digest = found.CreatedDate, found.Configuration.Image.Digest
	}
	if before, err := n.read(id); err == nil && reflect.DeepEqual(before, now) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return space.Explain(err, n.store.home)
	}
	r := projectRecord{Version: projectRecordVersion, Project: n.owner.Project, File: n.owner.File, Machine: now}
	return space.Explain(WriteJSON(path, r), n.store.home)
}
