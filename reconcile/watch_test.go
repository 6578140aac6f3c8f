package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// fakeProject is a project that declares machines on an in-memory host. It records in said
// what the watch does.
type fakeProject struct {
	host *reconciletest.Host
	want []reconcile.Goal
	err  error // of the project file

	mu    sync.Mutex // for the race detector: timers do not order accesses
	looks int
	said  []string
}

// taken returns and resets what was said and the number of looks.
func (w *fakeProject) taken() (said []string, looks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	said, looks = w.said, w.looks
	w.said, w.looks = nil, 0
	return said, looks
}

func (w *fakeProject) Look(context.Context) (reconcile.Plan, error) {
	w.mu.Lock()
	w.looks++
	w.mu.Unlock()
	if w.err != nil {
		return reconcile.Plan{}, w.err
	}
	return reconcile.Diff(reconcile.Situation{Owner: acme, Want: w.want, Have: w.host.Machines(), Applied: w.host.Applied()})
}

func (w *fakeProject) Apply(ctx context.Context, p reconcile.Plan) error {
	if !p.Empty() {
		w.say("applies", p)
	}
	return reconcile.Apply(ctx, w.host, p, reconcile.Options{})
}

func (w *fakeProject) Tell(n reconcile.News) {
	switch {
	case n.Waiting != nil:
		w.say("waits", *n.Waiting)
	case n.Mended:
		w.say("mended", reconcile.Plan{})
	default:
		w.say("error: "+n.Err.Error(), reconcile.Plan{})
	}
}

func (w *fakeProject) say(what string, p reconcile.Plan) {
	for _, c := range p.Changes {
		if c.Action != reconcile.None {
			what += fmt.Sprintf(" %s %s", c.Action, c.ID)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, what)
}

// watchRun is a running [reconcile.Watch].
type watchRun struct {
	*fakeProject
	t                 *testing.T
	sources, machines chan struct{}
	end               context.CancelFunc
	ended             chan error
}

// watch starts a watch, inside of a synctest bubble.
func watch(t *testing.T, w *fakeProject, o reconcile.WatchOptions) *watchRun {
	ctx, end := context.WithCancel(t.Context())
	r := &watchRun{fakeProject: w, t: t, sources: make(chan struct{}, 1), machines: make(chan struct{}, 1), end: end, ended: make(chan error, 1)}
	o.Sources, o.Machines = r.sources, r.machines
	go func() { r.ended <- reconcile.Watch(ctx, w, o) }()
	t.Cleanup(func() { end(); synctest.Wait() })
	synctest.Wait()
	return r
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// saved signals a saved file, touched a changed machine.
func (r *watchRun) saved()   { poke(r.sources); r.pass(reconcile.DefaultQuiet) }
func (r *watchRun) touched() { poke(r.machines); r.pass(reconcile.DefaultQuiet) }

func (r *watchRun) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// heard checks what was said since the last call.
func (r *watchRun) heard(want ...string) {
	r.t.Helper()
	got, _ := r.taken()
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("said mismatch (-want +got):\n%s", d)
	}
}

// declaredMachine returns the goal of a machine, changed by edits.
func declaredMachine(id string, edits ...func(*reconcile.Goal)) reconcile.Goal {
	w := reconcile.Goal{Spec: spec(id)}
	for _, edit := range edits {
		edit(&w)
	}
	return w
}

func withCPUs(n int) func(*reconcile.Goal) { return func(w *reconcile.Goal) { w.CPUs = n } }

func withDigest(d string) func(*reconcile.Goal) { return func(w *reconcile.Goal) { w.Digest = d } }

func after(id string) func(*reconcile.Goal) {
	return func(w *reconcile.Goal) { w.After = append(w.After, id) }
}

func TestWatchAppliesOnlyChangesThatKeepData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("db"), declaredMachine("dev")}}
		r := watch(t, w, reconcile.WatchOptions{})
		r.heard("applies create db create dev")

		w.want = []reconcile.Goal{declaredMachine("db", withDigest("sha256:2")), declaredMachine("dev", withCPUs(4))}
		r.saved()
		r.heard("waits replace db", "applies restart dev")

		r.saved()
		r.touched()
		r.pass(time.Hour)
		r.heard()

		w.want = []reconcile.Goal{declaredMachine("db", withDigest("sha256:2"))}
		r.saved()
		r.heard("waits delete dev")
		if got := w.host.Machines()[0].Digest; got != "sha256:1" {
			t.Errorf("the machine was replaced: it has %s", got)
		}

		w.want = []reconcile.Goal{declaredMachine("db"), declaredMachine("dev", withCPUs(4))}
		r.saved()
		r.heard()
		w.want = w.want[:1]
		r.saved()
		r.heard("waits delete dev")
	})
}

func withHome(mount machine.HomeMount) func(*reconcile.Goal) {
	return func(w *reconcile.Goal) { w.HomeMount = mount }
}

func withoutAgent(w *reconcile.Goal) { w.NoSSHAgent = true }

func withContext(outside string) func(*reconcile.Goal) {
	return func(w *reconcile.Goal) { w.Build = &machine.Build{Context: outside, OutsideContext: outside} }
}

func TestWatchAsksBeforeMachinesGetMoreOfTheHost(t *testing.T) {
	goals := func(list ...reconcile.Goal) []reconcile.Goal { return list }
	none, ro, rw := withHome(machine.HomeNone), withHome(machine.HomeReadOnly), withHome(machine.HomeReadWrite)
	tests := map[string]struct {
		before, after []reconcile.Goal
		heard         string
	}{
		"a home that becomes writable":            {goals(declaredMachine("a", ro)), goals(declaredMachine("a", rw)), "waits restart a"},
		"a home that becomes visible":             {goals(declaredMachine("a", none)), goals(declaredMachine("a", ro)), "waits restart a"},
		"less of the home":                        {goals(declaredMachine("a", rw)), goals(declaredMachine("a", none)), "applies restart a"},
		"a new machine like the others":           {goals(declaredMachine("a", rw)), goals(declaredMachine("a", rw), declaredMachine("b", rw)), "applies create b"},
		"the first machine":                       {nil, goals(declaredMachine("a", rw)), "applies create a"},
		"a new machine with more of the home":     {goals(declaredMachine("a", none)), goals(declaredMachine("a", none), declaredMachine("b", rw)), "waits create b"},
		"more for one, which another already has": {goals(declaredMachine("a", none), declaredMachine("b", rw)), goals(declaredMachine("a", rw), declaredMachine("b", rw)), "waits restart a"},
		"the SSH agent for a machine without it":  {goals(declaredMachine("a", none, withoutAgent)), goals(declaredMachine("a", none)), "waits reconfigure a"},
		"a build of a directory outside":          {goals(declaredMachine("a", rw)), goals(declaredMachine("a", rw), declaredMachine("b", rw, withContext("/elsewhere"))), "waits create b"},
		"a build that the file had from the start": {
			goals(declaredMachine("a", rw, withContext("/elsewhere"))),
			goals(declaredMachine("a", rw, withContext("/elsewhere")), declaredMachine("b", rw, withContext("/elsewhere"))), "applies create b",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := watch(t, &fakeProject{host: reconciletest.New(), want: tt.before}, reconcile.WatchOptions{})
				r.taken() // what the file said when the watch began
				r.want = tt.after
				r.saved()
				r.heard(tt.heard)
			})
		})
	}
}

func TestFileThatWasWrongWhenTheWatchBeganIsNotAgreedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was := declaredMachine("a", withHome(machine.HomeNone)).Spec
		host := reconciletest.New(machine.Machine{Spec: was, State: machine.Running, Booted: &was.Settings})
		r := watch(t, &fakeProject{host: host, err: errors.New("no such file")}, reconcile.WatchOptions{})
		r.taken()
		r.err, r.want = nil, []reconcile.Goal{declaredMachine("a", withHome(machine.HomeReadWrite))}
		r.saved()
		r.heard("mended", "waits restart a")
	})
}

func TestWatchLearnsWhatWasApprovedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch(t, &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("a", withHome(machine.HomeNone))}}, reconcile.WatchOptions{})
		r.heard("applies create a")
		r.want = []reconcile.Goal{declaredMachine("a", withHome(machine.HomeReadWrite))}
		r.saved()
		r.heard("waits restart a")
		plan, err := r.Look(t.Context()) // "stead apply" in another terminal
		if err != nil {
			t.Fatal(err)
		}
		if err := reconcile.Apply(t.Context(), r.host, plan, reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		r.touched()
		r.want = append(r.want, declaredMachine("b", withHome(machine.HomeReadWrite)))
		r.saved()
		r.heard("applies create b")
	})
}

func TestStoppedMachinesWaitWithTheirDependencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("db"), declaredMachine("api", after("db"))}}
		r := watch(t, w, reconcile.WatchOptions{})
		r.heard("applies create api create db")

		w.want = []reconcile.Goal{
			declaredMachine("db", withDigest("sha256:2")), declaredMachine("api", after("db"), withCPUs(4)),
			declaredMachine("web", after("db")), declaredMachine("web-test", after("web")), declaredMachine("tools"),
		}
		r.saved()
		r.heard("waits replace db create web create web-test", "applies restart api create tools")
	})
}

func TestWatchRepairsDriftOnlyIfAsked(t *testing.T) {
	for repair, want := range map[bool]string{false: "waits start dev", true: "applies start dev"} {
		synctest.Test(t, func(t *testing.T) {
			w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
			r := watch(t, w, reconcile.WatchOptions{RepairDrift: repair})
			r.heard("applies create dev")
			r.pass(time.Minute)
			_ = w.host.Stop(t.Context(), "dev")
			r.touched()
			r.heard(want)
			r.touched()
			r.heard()

			// Changes of the file are applied in spite of drift.
			w.want = []reconcile.Goal{declaredMachine("dev", withCPUs(4))}
			r.saved()
			if m := w.host.Machines()[0]; m.State != machine.Running || m.Booted.CPUs != 4 {
				t.Errorf("dev is %v with %+v", m.State, m.Booted)
			}
		})
	}
}

func TestDriftIsRelativeToTheLastPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev := declaredMachine("dev")
		found := machine.Machine{Spec: dev.Spec, State: machine.Running, Booted: &dev.Settings}
		w := &fakeProject{host: reconciletest.New(found), want: []reconcile.Goal{dev}}
		r := watch(t, w, reconcile.WatchOptions{})
		r.heard()
		_ = w.host.Stop(t.Context(), "dev")
		r.touched()
		r.heard("waits start dev")

		// The machine is configured outside, and the file changed to match.
		_ = w.host.Configure(t.Context(), declaredMachine("dev", withCPUs(4)).Spec, nil)
		_ = w.host.Start(t.Context(), "dev")
		w.want = []reconcile.Goal{declaredMachine("dev", withCPUs(4))}
		r.saved()
		r.heard()
		_ = w.host.Configure(t.Context(), dev.Spec, nil)
		r.touched()
		r.heard("waits reconfigure dev")
	})
}

func TestInvalidFileIsReportedOnceAndKeepsMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		r := watch(t, w, reconcile.WatchOptions{})
		r.heard("applies create dev")

		w.err = errors.New("line 1")
		r.saved()
		r.touched()
		r.pass(time.Hour)
		r.heard("error: line 1")
		w.err = errors.New("line 2")
		r.saved()
		r.heard("error: line 2")
		if n := len(w.host.Machines()); n != 1 {
			t.Errorf("there are %d machines", n)
		}

		w.err, w.want = nil, append(w.want, declaredMachine("web"))
		r.saved()
		r.heard("mended", "applies create web")
		w.err = errors.New("line 2")
		r.saved()
		r.heard("error: line 2")
	})
}

func TestSignalsAreDebounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New()}
		r := watch(t, w, reconcile.WatchOptions{})
		r.taken()
		for range 10 {
			poke(r.sources)
			r.pass(reconcile.DefaultQuiet / 4)
		}
		r.pass(reconcile.DefaultQuiet)
		if _, looks := r.taken(); looks != 1 {
			t.Errorf("a burst of signals caused %d looks, want 1", looks)
		}
		r.taken()
		for range 400 {
			poke(r.sources)
			r.pass(reconcile.DefaultQuiet / 4)
		}
		if _, looks := r.taken(); looks < 9 || looks > 10 {
			t.Errorf("10 s of signals caused %d looks, want 9 or 10", looks)
		}
		r.heard()
	})
}

func TestEndOfWatchFinishesTheRunningStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New()}
		r := watch(t, w, reconcile.WatchOptions{})
		r.end()
		if err := <-r.ended; err != nil {
			t.Errorf("an idle watch returned %v", err)
		}

		w = &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		started := make(chan struct{})
		w.host.Fail = func(op, _ string) error {
			if op == "create" {
				close(started)
				time.Sleep(time.Minute)
			}
			return nil
		}
		r = watch(t, w, reconcile.WatchOptions{})
		<-started
		r.end()
		if err := <-r.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("an interrupted watch returned %v", err)
		}
		if m := w.host.Machines(); len(m) != 1 || m[0].State != machine.Stopped {
			t.Errorf("machines: %+v, want dev stopped", m)
		}
	})
}
