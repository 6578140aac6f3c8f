package provider

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/gofrs/flock"
)

// A project's record, projects/<key>.json, is how its last apply left its machines. It
// decides nothing: what is comes from the bundles, what should be from the file. It is
// there so that a plan can tell what the file changes from what somebody changed by hand,
// and may be deleted at any time.
type projectRecord struct {
	Version  int                       `json:"version"`
	Project  string                    `json:"project"`
	File     string                    `json:"file"`
	Machines map[string]appliedMachine `json:"machines"`
}

const projectRecordVersion = 1

type appliedMachine struct {
	Image          recordImage `json:"image"`
	Platform       string      `json:"platform"`
	User           recordUser  `json:"user"`
	Settings       bootConfig  `json:"settings"`
	Stopped        bool        `json:"stopped,omitempty"`
	PreventDestroy bool        `json:"preventDestroy,omitempty"`
	Created        time.Time   `json:"created"`
}

// projectFile is where a project's record, lock and the like are: the path of its file
// makes their name.
func (p *Provider) projectFile(o Owner, ending string) string {
	sum := sha256.Sum256([]byte(o.File))
	return filepath.Join(p.opts.Home, "projects", hex.EncodeToString(sum[:8])+ending)
}

// Applied is how the last apply of a project left its machines, by ID. It is empty for a
// project that was never applied.
func (p *Provider) Applied(o Owner) (map[string]Applied, error) {
	r, err := p.readProject(o)
	if err != nil {
		return nil, err
	}
	applied := make(map[string]Applied, len(r.Machines))
	for id, m := range r.Machines {
		settings, err := m.Settings.settings()
		if err != nil {
			continue // written by another version; it only tells of drift
		}
		applied[id] = Applied{
			Spec: Spec{
				ID: id, Image: m.Image.Reference, Digest: m.Image.Digest, Platform: m.Platform,
				User:  User{Name: m.User.Username, UID: m.User.UID, GID: m.User.GID},
				Owner: o, Settings: settings, PreventDestroy: m.PreventDestroy,
			},
			Stopped: m.Stopped, Created: m.Created,
		}
	}
	return applied, nil
}

func (p *Provider) readProject(o Owner) (projectRecord, error) {
	r := projectRecord{Version: projectRecordVersion, Project: o.Project, File: o.File, Machines: map[string]appliedMachine{}}
	path := p.projectFile(o, ".json")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	found := r
	if err := json.Unmarshal(data, &found); err != nil || found.Version != projectRecordVersion || found.Project != o.Project {
		p.log.Warn("the record of the last apply cannot be used: a plan will not tell what was changed by hand", "file", path, "err", err)
		return r, nil
	}
	return found, nil
}

// Note remembers how an apply of o left the machine, or, with nil, that o has none of
// this name any more.
func (p *Provider) Note(ctx context.Context, o Owner, id string, s *Spec, stopped bool) error {
	path := p.projectFile(o, ".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskFull(err, p.opts.Home)
	}
	l := flock.New(p.projectFile(o, ".note.lock"), flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		return fmt.Errorf("record of the project: %w", err)
	}
	defer l.Unlock() //nolint:errcheck // it goes with the process
	r, err := p.readProject(o)
	if err != nil {
		return err
	}
	before, known := r.Machines[id]
	if s == nil {
		if !known {
			return nil
		}
		delete(r.Machines, id)
		return diskFull(writeJSON(path, r), p.opts.Home)
	}
	now := appliedMachine{
		Image: recordImage{Digest: s.Digest, Reference: s.Image}, Platform: s.Platform,
		User:     recordUser{Username: s.User.Name, UID: s.User.UID, GID: s.User.GID},
		Settings: bootConfigOf(s.Settings), Stopped: stopped, PreventDestroy: s.PreventDestroy,
	}
	// What a machine was made of is known only now where its image was built.
	if found, err := p.bundle(id).readRecord(); err == nil {
		now.Created, now.Image.Digest = found.CreatedDate, found.Configuration.Image.Digest
	}
	if known && reflect.DeepEqual(before, now) {
		return nil
	}
	r.Machines[id] = now
	return diskFull(writeJSON(path, r), p.opts.Home)
}
