//go:build linux

package initsys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/stead-vm/stead/provider/guest"
)

// ErrNoServices is returned if the init has no services that can be enabled.
var ErrNoServices = errors.New("services need an image with systemd or OpenRC")

// manager is the part of an init that Services uses. Each method acts on one service and returns
// the init's own message as the error.
type manager interface {
	// ready returns once the init accepts commands.
	ready(ctx context.Context) error
	enable(ctx context.Context, name string) error
	disable(ctx context.Context, name string) error
	active(ctx context.Context, name string) bool
	// failure returns why a service that was started does not run, with its last lines, or nil.
	failure(ctx context.Context, name string) error
}

// Services keeps the list of services that the host declared. It is safe for
// concurrent use.
type Services struct {
	manager manager // nil: the init has no services
	kind    Kind
	record  string // file on the machine's disk that stores the list
	trial   time.Duration
	mu      sync.Mutex
}

// trialTime is how long a service must run after its start. An init takes most services for
// started as soon as their program is executed, and many that cannot work end at once.
const trialTime = time.Second

// NewServices returns the services of an image's init. record is a file on the machine's
// own disk.
func NewServices(kind Kind, record string) *Services {
	s := &Services{kind: kind, record: record, trial: trialTime}
	switch kind {
	case Systemd:
		s.manager = systemd{}
	case OpenRC:
		s.manager = openrc{}
	case Busybox, SysVinit, Agent, Unknown:
	}
	return s
}

// deadline bounds how long one service may take to start or stop.
const deadline = 3 * time.Minute

// Apply enables and starts the services in want. Services of an earlier list that are not
// in want are stopped and disabled.
func (s *Services) Apply(ctx context.Context, want []string) ([]guest.ServiceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had, err := s.load()
	if err != nil {
		return nil, err
	}
	if len(want) == 0 && len(had) == 0 {
		return []guest.ServiceState{}, nil
	}
	if s.manager == nil {
		return nil, fmt.Errorf("%w; this image has %s", ErrNoServices, s.kind)
	}
	if err := s.manager.ready(ctx); err != nil {
		return nil, err
	}
	want, drop := diff(want, had)
	// Record both lists first, so that a later list can undo what fails half-way.
	if err := s.save(append(slices.Clone(want), drop...)); err != nil {
		return nil, err
	}
	kept := slices.Clone(want)
	states := []guest.ServiceState{}
	for _, name := range drop {
		if err := s.each(ctx, name, s.manager.disable); err != nil {
			states = append(states, guest.ServiceState{Name: name, Active: s.manager.active(ctx, name), Error: err.Error()})
			kept = append(kept, name)
		}
	}
	failed := map[string]error{}
	for _, name := range want {
		failed[name] = s.each(ctx, name, s.manager.enable)
	}
	s.try(ctx, want, failed)
	for _, name := range want {
		err := failed[name]
		state := guest.ServiceState{Name: name, Active: err == nil || s.manager.active(ctx, name)}
		if err != nil {
			state.Error = err.Error()
		}
		states = append(states, state)
	}
	return states, s.save(kept)
}

// try waits for the time of trial and adds the services that failed in it.
func (s *Services) try(ctx context.Context, want []string, failed map[string]error) {
	started := slices.DeleteFunc(slices.Clone(want), func(name string) bool { return failed[name] != nil })
	if len(started) == 0 {
		return
	}
	select {
	case <-time.After(s.trial):
	case <-ctx.Done():
	}
	for _, name := range started {
		failed[name] = s.each(ctx, name, s.manager.failure)
	}
}

func (s *Services) each(ctx context.Context, name string, act func(context.Context, string) error) error {
	if !validName(name) {
		return fmt.Errorf("%q is not a valid name of a service", name)
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return act(ctx, name)
}

// validName keeps a name from being an option, a pattern or a path.
func validName(name string) bool {
	foreign := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(`_.:@-\`, r)
	}
	return name != "" && !strings.ContainsRune("-.", rune(name[0])) && !strings.ContainsFunc(name, foreign)
}

// diff returns want without duplicates, and the elements of had that are not in want.
func diff(want, had []string) (keep, drop []string) {
	for _, name := range want {
		if !slices.Contains(keep, name) {
			keep = append(keep, name)
		}
	}
	for _, name := range had {
		if !slices.Contains(keep, name) {
			drop = append(drop, name)
		}
	}
	return keep, drop
}

func (s *Services) load() ([]string, error) {
	b, err := os.ReadFile(s.record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of enabled services: %w", err)
	}
	var r guest.Services
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s is damaged (%w); remove it and disable services by hand", s.record, err)
	}
	return r.Want, nil
}

func (s *Services) save(names []string) error {
	if had, err := s.load(); err == nil && slices.Equal(had, names) {
		return nil
	}
	b, err := json.Marshal(guest.Services{Want: names})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.record), 0o755)
	}
	if err == nil {
		err = renameio.WriteFile(s.record, append(b, '\n'), 0o644, renameio.WithTempDir(filepath.Dir(s.record)))
	}
	if err != nil {
		return fmt.Errorf("record the enabled services: %w", err)
	}
	return nil
}

// words returns a command's output as an error of one line, or err if there is no output.
func words(out []byte, err error) error {
	text := strings.Join(strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if text = strings.TrimSpace(text); text == "" {
		return err
	}
	return errors.New(text)
}
