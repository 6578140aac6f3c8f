package reconcile_test

import (
	"errors"
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// Few values, so that machines are often equal or nearly equal, or have the same name.
var (
	ids    = []string{"a", "b", "c", "d", "e"}
	others = []machine.Owner{{}, {Project: "other", File: "/other/machines.hcl"}, {Project: "acme", File: "/copy/machines.hcl"}}
)

func drawSettings(t *rapid.T) machine.Settings {
	return machine.Settings{
		CPUs:           rapid.IntRange(1, 2).Draw(t, "cpus"),
		Memory:         rapid.SampledFrom([]int64{1 << 30, 2 << 30}).Draw(t, "memory"),
		Disk:           rapid.SampledFrom([]int64{32 << 30, 64 << 30}).Draw(t, "disk"),
		Kernel:         rapid.SampledFrom([]string{"", "/k"}).Draw(t, "kernel"),
		Virtualization: rapid.Bool().Draw(t, "virtualization"),
		NoSSHAgent:     rapid.Bool().Draw(t, "agent"),
		HomeMount:      rapid.SampledFrom([]machine.HomeMount{machine.HomeReadWrite, machine.HomeReadOnly, machine.HomeNone}).Draw(t, "home"),
		Services:       rapid.SampledFrom([][]string{nil, {"x"}, {"x", "y"}, {"y", "x"}}).Draw(t, "services"),
	}
}

func drawSpec(t *rapid.T, id string, owner machine.Owner) machine.Spec {
	return machine.Spec{
		ID: id, Owner: owner,
		Image:    rapid.SampledFrom([]string{"debian:12", "debian:13"}).Draw(t, "image"),
		Digest:   rapid.SampledFrom([]string{"sha256:1", "sha256:2"}).Draw(t, "digest"),
		Platform: rapid.SampledFrom([]platform.Platform{amd64, arm64}).Draw(t, "platform"),
		User:     machine.User{Name: rapid.SampledFrom([]string{"ada", "dev"}).Draw(t, "user"), UID: rapid.IntRange(1000, 1001).Draw(t, "uid"), GID: 1000},
		Settings: drawSettings(t),
	}
}

func drawMachine(t *rapid.T, id string, owner machine.Owner) machine.Machine {
	states := []machine.State{machine.Stopped, machine.Booting, machine.Running, machine.Unreachable, machine.Broken}
	m := machine.Machine{
		Spec:     drawSpec(t, id, owner),
		State:    rapid.SampledFrom(states).Draw(t, "state"),
		DiskUsed: rapid.Int64Range(1, 1<<30).Draw(t, "used"),
	}
	if m.Active() {
		booted := drawSettings(t) // the files may have changed since
		m.Booted, m.BootedAs = &booted, rapid.SampledFrom([]string{"", "ada", "dev"}).Draw(t, "booted as")
	}
	if m.State == machine.Broken && rapid.Bool().Draw(t, "unreadable") {
		m.Spec = machine.Spec{ID: id}
	}
	return m
}

// drawGoal draws a declared machine of acme that may depend on machines that sort before it.
func drawGoal(t *rapid.T, id string) reconcile.Goal {
	w := reconcile.Goal{
		Spec:      drawSpec(t, id, acme),
		Stopped:   rapid.Bool().Draw(t, "stopped"),
		KeepImage: rapid.Bool().Draw(t, "keep image"),
	}
	for _, other := range ids {
		if other < id && rapid.Bool().Draw(t, "after") {
			w.After = append(w.After, other)
		}
	}
	return w
}

// drawWorld draws a host and a project that declares some of its names.
func drawWorld(t *rapid.T) (want []reconcile.Goal, have []machine.Machine) {
	for _, id := range ids {
		switch rapid.SampledFrom([]string{"wanted", "found", "both", "other owner", "absent"}).Draw(t, id) {
		case "wanted":
			want = append(want, drawGoal(t, id))
		case "found":
			have = append(have, drawMachine(t, id, acme))
		case "both":
			want = append(want, drawGoal(t, id))
			have = append(have, drawMachine(t, id, acme))
		case "other owner":
			have = append(have, drawMachine(t, id, rapid.SampledFrom(others).Draw(t, "owner")))
		}
	}
	return want, have
}

func diff(t *rapid.T, want []reconcile.Goal, have []machine.Machine) reconcile.Plan {
	plan, err := reconcile.Diff(reconcile.Situation{Owner: acme, Want: want, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func destroy(t *rapid.T, s reconcile.Situation) reconcile.Plan {
	plan, err := reconcile.Destroy(s)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestApplyConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		h := reconciletest.New(have...)
		if err := reconcile.Apply(t.Context(), h, diff(t, want, have), reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		if plan := diff(t, want, h.Machines()); !plan.Empty() {
			t.Errorf("the plan is not empty:\n%s", reconcile.Text(plan))
		}
	})
}

func TestApplyConvergesAfterFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		h := reconciletest.New(have...)
		chance := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		h.Fail = func(op, _ string) error {
			if op != "check" && chance.Intn(3) == 0 {
				return errInjected
			}
			return nil
		}
		_ = reconcile.Apply(t.Context(), h, diff(t, want, have), reconcile.Options{Parallelism: 1})
		h.Fail = nil
		if err := reconcile.Apply(t.Context(), h, diff(t, want, h.Machines()), reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		if plan := diff(t, want, h.Machines()); !plan.Empty() {
			t.Errorf("the plan is not empty:\n%s", reconcile.Text(plan))
		}
	})
}

type injectedError struct{}

func (injectedError) Error() string { return "injected failure" }

var errInjected error = injectedError{}

func TestEqualMachinesNeedNoChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, _ := drawWorld(t)
		have := make([]machine.Machine, len(want))
		for i, s := range want {
			have[i] = machine.Machine{Spec: s.Spec, State: machine.Running, Booted: &s.Settings}
			if s.Stopped {
				have[i].State, have[i].Booted = machine.Stopped, nil
			}
		}
		if plan := diff(t, want, have); !plan.Empty() || plan.Destructive() {
			t.Errorf("the plan is not empty:\n%s", reconcile.Text(plan))
		}
	})
}

func TestOrderOfArgumentsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		shuffled := diff(t, rapid.Permutation(want).Draw(t, "want"), rapid.Permutation(have).Draw(t, "have"))
		if d := cmp.Diff(diff(t, want, have), shuffled); d != "" {
			t.Errorf("the plan depends on the order of the arguments:\n%s", d)
		}
	})
}

func TestOtherOwnersMachinesDoNotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		h := reconciletest.New(have...)
		everything := reconcile.Situation{Owner: acme, Want: want, Have: have}
		for _, plan := range []reconcile.Plan{
			diff(t, want, have), reconcile.Halt(everything), destroy(t, everything),
		} {
			_ = reconcile.Apply(t.Context(), h, plan, reconcile.Options{}) // stopping a deleted machine may fail
		}
		now := map[string]machine.Machine{}
		for _, m := range h.Machines() {
			now[m.ID] = m
		}
		for _, m := range have {
			if m.Owner != acme && m.Digest != "" {
				if d := cmp.Diff(m, now[m.ID]); d != "" {
					t.Errorf("machine %s of %+v changed:\n%s", m.ID, m.Owner, d)
				}
			}
		}
	})
}

func TestPlanNamesEveryLostDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		plan := diff(t, want, have)
		lost := map[string]bool{}
		for _, c := range plan.Changes {
			lost[c.ID] = c.DataLost > 0
		}
		h := reconciletest.New(have...)
		if err := reconcile.Apply(t.Context(), h, plan, reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		used := map[string]int64{}
		for _, m := range h.Machines() {
			used[m.ID] = m.DiskUsed
		}
		for _, m := range have {
			if kept := used[m.ID] == m.DiskUsed; kept == lost[m.ID] {
				t.Errorf("machine %s: disk kept: %v; the plan loses it: %v", m.ID, kept, lost[m.ID])
			}
		}
	})
}

func TestBaselinesDoNotChangeThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		s := reconcile.Situation{Owner: acme, Want: want, Have: have}
		without, err := reconcile.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		s.Applied = map[string]machine.Baseline{}
		for _, id := range ids {
			if rapid.Bool().Draw(t, "applied") {
				s.Applied[id] = machine.Baseline{Spec: drawSpec(t, id, acme), Stopped: rapid.Bool().Draw(t, "stopped")}
			}
		}
		with, err := reconcile.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range with.Changes {
			with.Changes[i].DriftOnly = false
		}
		if d := cmp.Diff(without.Changes, with.Changes); d != "" {
			t.Errorf("the plan depends on baselines:\n%s", d)
		}
	})
}

func TestSavedPlanIsFreshUntilApplied(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, have := drawWorld(t)
		s := reconcile.Situation{Owner: acme, Want: want, Have: have}
		plan, err := reconcile.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		data, err := reconcile.Save(s, plan)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := reconcile.LoadSaved("plan", data)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := saved.Fresh(have, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := reconcile.Text(fresh), reconcile.Text(plan); got != want {
			t.Errorf("the loaded plan is\n%s\nwant\n%s", got, want)
		}
		h := reconciletest.New(have...)
		if err := reconcile.Apply(t.Context(), h, fresh, reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		var stale *reconcile.StaleError
		if _, err := saved.Fresh(h.Machines(), nil); !plan.Empty() && !errors.As(err, &stale) {
			t.Errorf("after apply, the plan is not stale: %v", err)
		}
	})
}
