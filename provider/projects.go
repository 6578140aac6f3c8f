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
	"strings"
	"time"
)

// A project's records, projects/<key>/<id>.json, are how its last apply left its machines.
// They decide nothing: what is comes from the bundles, what should be from the file. They
// are there so that a plan can tell what the file changes from what somebody changed by
// hand, and may be deleted at any time. Each machine has its own, so that noting one costs
// the same in a large project as in a small one.
type projectRecord struct {
	Version int            `json:"version"`
	Project string         `json:"project"`
	File    string         `json:"file"`
	Machine appliedMachine `json:"machine"`
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

// projectFile is where a project's records, lock and the like are: the path of its file
// makes their name.
func (p *Provider) projectFile(o Owner, ending string) string {
	sum := sha256.Sum256([]byte(o.File))
	return filepath.Join(p.opts.Home, "projects", hex.EncodeToString(sum[:8])+ending)
}

func (p *Provider) noteOf(o Owner, id string) string {
	return filepath.Join(p.projectFile(o, ""), id+".json")
}

// Applied is how the last apply of a project left its machines, by ID. It is empty for a
// project that was never applied.
func (p *Provider) Applied(o Owner) (map[string]Applied, error) {
	dir := p.projectFile(o, "")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	applied := make(map[string]Applied, len(entries))
	var unusable error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !ValidID(id) {
			continue // being written
		}
		m, err := p.readNote(o, id)
		if err != nil {
			unusable = err
			continue
		}
		if applied[id], err = m.applied(o, id); err != nil {
			delete(applied, id)
			unusable = err
		}
	}
	if unusable != nil {
		p.log.Warn("a record of the last apply cannot be used: a plan will not tell all that was changed by hand", "in", dir, "err", unusable)
	}
	return applied, nil
}

func (m *appliedMachine) applied(o Owner, id string) (Applied, error) {
	settings, err := m.Settings.settings()
	return Applied{
		Spec: Spec{
			ID: id, Image: m.Image.Reference, Digest: m.Image.Digest, Platform: m.Platform,
			User:  User{Name: m.User.Username, UID: m.User.UID, GID: m.User.GID},
			Owner: o, Settings: settings, PreventDestroy: m.PreventDestroy,
		},
		Stopped: m.Stopped, Created: m.Created,
	}, err
}

// readNote reads the record of one machine.
func (p *Provider) readNote(o Owner, id string) (appliedMachine, error) {
	path := p.noteOf(o, id)
	data, err := os.ReadFile(path)
	if err != nil {
		return appliedMachine{}, err
	}
	var r projectRecord
	err = json.Unmarshal(data, &r)
	if err == nil && (r.Version != projectRecordVersion || r.Project != o.Project) {
		err = fmt.Errorf("form %d, of project %q", r.Version, r.Project)
	}
	if err != nil {
		return appliedMachine{}, fmt.Errorf("%s: %w", path, err)
	}
	return r.Machine, nil
}

// Note remembers how an apply of o left the machine, or, with nil, that o has none of
// this name any more.
func (p *Provider) Note(_ context.Context, o Owner, id string, s *Spec, stopped bool) error {
	path := p.noteOf(o, id)
	if s == nil {
		return removeIfExists(path)
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
	if before, err := p.readNote(o, id); err == nil && reflect.DeepEqual(before, now) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskFull(err, p.opts.Home)
	}
	r := projectRecord{Version: projectRecordVersion, Project: o.Project, File: o.File, Machine: now}
	return diskFull(writeJSON(path, r), p.opts.Home)
}
