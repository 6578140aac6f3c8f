package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// memory is a host in memory.
type memory struct {
	*reconciletest.Host
	warning string

	mu        sync.Mutex
	preferred string // the default machine, which need not exist
	locked    map[string]bool
}

func newMemory() *memory { return &memory{Host: reconciletest.New(), locked: map[string]bool{}} }

func (m *memory) open() (Host, error) { return m, nil }

func (m *memory) Machines(context.Context) ([]machine.Machine, error) { return m.Host.Machines(), nil }

func (m *memory) Defaults(context.Context, machine.Owner, bool) (reconcile.Defaults, error) {
	return reconcile.Defaults{
		Settings: host.DefaultSettings(), Platform: platform.Host(), User: machine.User{Name: "ada", UID: 1000, GID: 1000},
		Digest: func(ref string, _ platform.Platform) (string, error) { return "sha256:" + ref, nil },
	}, nil
}

func (m *memory) Applied(machine.Owner) (map[string]machine.Baseline, error) {
	return m.Host.Applied(), nil
}

// creator makes the first machine that is created the default, as a real provider does.
type creator struct {
	*reconciletest.Host
	memory *memory
}

func (c creator) Create(ctx context.Context, s machine.Spec) error {
	err := c.Host.Create(ctx, s)
	if first, _ := c.memory.Default(); err == nil && first == "" {
		err = c.memory.SetDefault(s.ID)
	}
	return err
}

func (m *memory) Provider(machine.Owner, func(string) transfer.Progress) reconcile.Provider {
	return creator{m.Host, m}
}

func (m *memory) AvailableMemory() int64 { return 1 << 40 }

func (m *memory) SpeedWarning(context.Context, platform.Platform) (string, error) {
	return m.warning, nil
}

func (m *memory) WaitServices(ctx context.Context, id string) error {
	switch id {
	case "fails":
		return errors.New("service nginx: failed")
	case "late":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}
func (m *memory) Files() []string { return nil }

func (m *memory) Default() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.Host.Machines(), func(f machine.Machine) bool { return f.ID == m.preferred }) {
		return m.preferred, nil
	}
	return "", nil
}

func (m *memory) SetDefault(id string) error {
	if !slices.ContainsFunc(m.Host.Machines(), func(f machine.Machine) bool { return f.ID == id }) {
		return &machine.NotFoundError{ID: id}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.preferred = id
	return nil
}

func (m *memory) LockProject(_ context.Context, file string) (unlock func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[file] {
		return nil, &lock.HeldError{What: file + " is being changed"}
	}
	m.locked[file] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locked, file)
	}, nil
}

func (m *memory) LockWatch(ctx context.Context, file string) (unlock func(), err error) {
	return m.LockProject(ctx, file+".watch")
}

func (m *memory) ProjectHolder(file string) (by lock.Holder, held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return lock.Holder{}, m.locked[file]
}

// transcript is a view that remembers what it was told.
type transcript struct {
	mu       sync.Mutex
	lines    []string
	warnings []string
}

func (v *transcript) note(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines = append(v.lines, fmt.Sprintf(format, args...))
}

func (v *transcript) Plan(p reconcile.Plan) { v.note("plan %d", p.Count(reconcile.Create)) }

func (v *transcript) Event(e reconcile.Event)              { v.note("%s %s %s", e.ID, e.Action, e.Kind) }
func (v *transcript) Progress(string) transfer.Progress    { return nil }
func (v *transcript) Waiting(id string, services []string) { v.note("waiting %s %v", id, services) }
func (v *transcript) Late(ids []string)                    { v.note("late %v", ids) }
func (v *transcript) Interrupted()                         { v.note("interrupted") }
func (v *transcript) Warn(text string)                     { v.warnings = append(v.warnings, text) }
func (v *transcript) Outcome(_ reconcile.Plan, did reconcile.Outcome, err error) {
	v.note("outcome %d %v", did.Count(reconcile.Create), err)
}

// three machines, in an order that is not the alphabet's.
const three = `
project = "acme"
machine "web" { image = "debian:12" }
machine "db" { image = "debian:12" }
machine "api" { image = "debian:12" }
`

// written is the path of a project file with that text.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "machines.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// apply does what the apply command does.
func apply(t *testing.T, h *memory, o Options, ao ApplyOptions) error {
	t.Helper()
	pr, unlock, err := LoadLocked(t.Context(), h.open, o)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	plan, s, err := pr.Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return pr.ApplyFirst(t.Context(), plan, s.FileOrder, ao)
}

func TestTheFirstMachineOfTheFileBecomesTheDefault(t *testing.T) {
	refuse := func(id string) func(*memory) {
		return func(m *memory) {
			m.Fail = func(op, failed string) error {
				if op == "create" && failed == id {
					return errors.New("no space left")
				}
				return nil
			}
		}
	}
	tests := map[string]struct {
		target  []string
		prepare func(*memory)
		want    string
		fails   bool
	}{
		"the first of all machines":                   {want: "web"},
		"the first of the targeted machines":          {target: []string{"db", "api"}, want: "db"},
		"the order is the file's, not the alphabet's": {target: []string{"api"}, want: "api"},
		"the first that was created":                  {prepare: refuse("web"), want: "db", fails: true},
		"an existing default stays":                   {prepare: func(m *memory) { existing(m, "old") }, want: "old"},
	}
	for name, tt := range tests {
		for _, saved := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, saved %v", name, saved), func(t *testing.T) {
				h := newMemory()
				if tt.prepare != nil {
					tt.prepare(h)
				}
				o := Options{File: written(t, three), Target: tt.target}
				var err error
				if saved {
					err = applySaved(t, h, o)
				} else {
					err = apply(t, h, o, ApplyOptions{View: &transcript{}, Parallelism: 3})
				}
				if (err != nil) != tt.fails {
					t.Fatalf("apply: %v", err)
				}
				if got, err := h.Default(); got != tt.want || err != nil {
					t.Errorf("the default is %q, %v, want %q", got, err, tt.want)
				}
			})
		}
	}
}

// existing adds a default machine that belongs to no project.
func existing(m *memory, id string) {
	if err := m.Host.Create(context.Background(), machine.Spec{ID: id}); err != nil {
		panic(err)
	}
	m.preferred = id
}

// applySaved saves a plan, and applies that.
func applySaved(t *testing.T, h *memory, o Options) error {
	t.Helper()
	pr, err := Load(t.Context(), h.open, o)
	if err != nil {
		t.Fatal(err)
	}
	plan, s, err := pr.Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan")
	if err := SavePlan(path, s, plan); err != nil {
		t.Fatal(err)
	}
	_, err = ApplySaved(t.Context(), h.open, path, ApplyOptions{View: &transcript{}, Parallelism: 3})
	return err
}

func TestAPlanThatIsNotApprovedChangesNothing(t *testing.T) {
	h, v, no := newMemory(), &transcript{}, errors.New("no")
	o := Options{File: written(t, three)}
	if err := apply(t, h, Options{File: o.File, Target: []string{"web"}}, ApplyOptions{View: &transcript{}}); err != nil {
		t.Fatal(err)
	}
	h.preferred = "" // as after the default machine was removed
	err := apply(t, h, o, ApplyOptions{
		View: v, Approve: func(context.Context, reconcile.Plan) error { return no },
	})
	if !errors.Is(err, no) || len(h.Host.Machines()) > 1 {
		t.Errorf("got %v and %d machines", err, len(h.Host.Machines()))
	}
	if first, err := h.Default(); first != "" || err != nil {
		t.Errorf("the default became %q, %v", first, err)
	}
	if d := strings.Join(v.lines, ";"); d != "plan 2" {
		t.Errorf("shown: %s", d)
	}
}

func TestAPlanWithoutChangesNeedsNoApproval(t *testing.T) {
	h, o := newMemory(), Options{File: written(t, three)}
	if err := apply(t, h, o, ApplyOptions{View: &transcript{}}); err != nil {
		t.Fatal(err)
	}
	err := apply(t, h, o, ApplyOptions{View: &transcript{}, Approve: func(context.Context, reconcile.Plan) error {
		return errors.New("asked")
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestAWarningIsShownOnceBeforeMachinesBoot(t *testing.T) {
	h, v := newMemory(), &transcript{}
	h.warning = "machines are emulated"
	if err := apply(t, h, Options{File: written(t, three)}, ApplyOptions{View: v}); err != nil {
		t.Fatal(err)
	}
	if d := strings.Join(v.warnings, ";"); d != "machines are emulated" {
		t.Errorf("warnings: %s", d)
	}
}

func TestALockedProjectIsNotLoaded(t *testing.T) {
	h, o := newMemory(), Options{File: written(t, three)}
	_, unlock, err := LoadLocked(t.Context(), h.open, o)
	if err != nil {
		t.Fatal(err)
	}
	var held *lock.HeldError
	if _, _, err := LoadLocked(t.Context(), h.open, o); !errors.As(err, &held) {
		t.Errorf("loading it twice gave %v", err)
	}
	unlock()
	broken := Options{File: written(t, `machine "dev" {`)}
	for range 2 { // a file that cannot be read keeps no lock
		if _, _, err := LoadLocked(t.Context(), h.open, broken); err == nil || errors.As(err, &held) {
			t.Errorf("a broken file gave %v", err)
		}
	}
}

func TestWatchAppliesSavedChanges(t *testing.T) {
	h, file := newMemory(), written(t, `machine "dev" { image = "debian:12" }`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, applied, ended := make(chan string, 1), make(chan bool, 10), make(chan error, 1)
	go func() {
		ended <- Watch(ctx, h.open, Options{File: file}, WatchOptions{
			Poll: true, Log: slog.New(slog.DiscardHandler),
			Begin: func(file string) { begun <- file },
			Tell:  func(n reconcile.News) { t.Logf("news: %+v", n) },
			View:  func() View { return &signalling{applied: applied} },
		})
	}()
	if got := <-begun; got != file {
		t.Errorf("watching %s", got)
	}
	<-applied
	if err := os.WriteFile(file, []byte(`machine "dev" { image = "debian:12" }
machine "web" { image = "debian:12" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	<-applied
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(h.Host.Machines()); n != 2 {
		t.Errorf("%d machines", n)
	}
}

// signalling says when a plan was applied.
type signalling struct {
	transcript
	applied chan bool
}

func (v *signalling) Outcome(p reconcile.Plan, _ reconcile.Outcome, _ error) {
	if !p.Empty() {
		v.applied <- true
	}
}

func TestFileProblemsAreReportedBeforeHostProblems(t *testing.T) {
	opened := false
	open := func() (Host, error) {
		opened = true
		return nil, errors.New("no state directory")
	}
	broken := written(t, `machine "dev" {`)
	t.Chdir(t.TempDir()) // without a project
	for name, try := range map[string]func() error{
		"load": func() error { _, err := Load(t.Context(), open, Options{File: broken}); return err },
		"locked": func() error {
			_, _, err := LoadLocked(t.Context(), open, Options{})
			return err
		},
		"saved": func() error { _, err := ApplySaved(t.Context(), open, broken, ApplyOptions{}); return err },
		"watch": func() error { return Watch(t.Context(), open, Options{File: broken + ".missing"}, WatchOptions{}) },
	} {
		if err := try(); err == nil || opened {
			t.Errorf("%s: %v, the host was opened: %v", name, err, opened)
		}
	}
}

func TestApplyReportsServicesThatFailAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), config.FileName)
	text := "project = \"acme\"\n"
	for _, id := range []string{"fails", "late", "works"} {
		text += fmt.Sprintf("machine %q {\n  image = \"debian:12\"\n  services = [\"nginx\"]\n}\n", id)
	}
	text += "machine \"plain\" {\n  image = \"debian:12\"\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pr, unlock, err := LoadLocked(t.Context(), newMemory().open, Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	plan, s, err := pr.Plan(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := &transcript{}
	err = pr.ApplyFirst(t.Context(), plan, s.FileOrder, ApplyOptions{View: v, Patience: 10 * time.Millisecond})
	if err == nil || err.Error() != "machine fails: service nginx: failed" {
		t.Errorf("apply ended with %v", err)
	}
	var said []string
	for _, line := range v.lines {
		if strings.HasPrefix(line, "waiting") || strings.HasPrefix(line, "late [") {
			said = append(said, line)
		}
	}
	if want := []string{"waiting fails [nginx]", "waiting late [nginx]", "waiting works [nginx]", "late [late]"}; !slices.Equal(said, want) {
		t.Errorf("the view was told %q, want %q", said, want)
	}
}

func TestWaitSaysForWhichServices(t *testing.T) {
	pr := &Project{host: newMemory(), Project: &config.Project{}}
	pr.Machines = []config.Machine{
		{Name: "web", Services: []string{"nginx", "redis"}}, {Name: "plain"}, {Name: "off", Services: []string{"nginx"}, Stopped: true},
	}
	said := map[string][]string{}
	if err := pr.WaitServices(t.Context(), func(id string, services []string) { said[id] = services }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string][]string{"web": {"nginx", "redis"}}, said); d != "" {
		t.Errorf("services waited for (-want +got):\n%s", d)
	}
}
