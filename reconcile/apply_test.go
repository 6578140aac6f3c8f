package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

var (
	amd64 = platform.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = platform.Platform{OS: "linux", Architecture: "arm64"}
)

var acme = machine.Owner{Project: "acme", File: "/acme/machines.hcl"}

func spec(id string) machine.Spec {
	return machine.Spec{
		ID: id, Image: "debian:12", Digest: "sha256:1", Platform: amd64, Owner: acme,
		User:     machine.User{Name: "ada", UID: 1000, GID: 1000},
		Settings: machine.Settings{CPUs: 2, Memory: 4 << 30, Disk: 64 << 30, HomeMount: machine.HomeReadWrite},
	}
}

// situation returns the situation in which acme declares specs on a host.
func situation(h *reconciletest.Host, specs ...machine.Spec) reconcile.Situation {
	s := reconcile.Situation{Owner: acme, Have: h.Machines(), Applied: h.Applied()}
	for _, want := range specs {
		s.Want = append(s.Want, reconcile.Goal{Spec: want})
	}
	return s
}

// planFor plans the host's way to the given machines.
func planFor(t *testing.T, h *reconciletest.Host, specs ...machine.Spec) reconcile.Plan {
	t.Helper()
	plan, err := reconcile.Diff(situation(h, specs...))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// apply plans and applies the given machines.
func apply(t *testing.T, h *reconciletest.Host, specs ...machine.Spec) {
	t.Helper()
	if err := reconcile.Apply(t.Context(), h, planFor(t, h, specs...), reconcile.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestStepsOfEachAction(t *testing.T) {
	base := spec("dev")
	with := func(edit func(*machine.Spec)) machine.Spec { s := base; edit(&s); return s }
	stopped := machine.Machine{Spec: base, State: machine.Stopped}
	running := machine.Machine{Spec: base, State: machine.Running, Booted: &base.Settings}
	broken := machine.Machine{Spec: base, State: machine.Broken}
	tests := map[string]struct {
		have *machine.Machine
		want *machine.Spec
		call []string
	}{
		"create":          {nil, &base, []string{"create dev", "start dev"}},
		"none":            {&running, &base, nil},
		"start":           {&stopped, &base, []string{"start dev"}},
		"update":          {&running, ptr(with(func(s *machine.Spec) { s.Services = []string{"redis"} })), []string{"configure dev", "start dev", "services dev"}},
		"reconfigure":     {&stopped, ptr(with(func(s *machine.Spec) { s.CPUs = 4 })), []string{"configure dev", "start dev"}},
		"restart":         {&running, ptr(with(func(s *machine.Spec) { s.CPUs = 4 })), []string{"configure dev", "stop dev", "start dev"}},
		"replace":         {&running, ptr(with(func(s *machine.Spec) { s.Digest = "sha256:2" })), []string{"replace dev", "start dev"}},
		"repair":          {&broken, &base, []string{"repair dev", "start dev"}},
		"delete":          {&running, nil, []string{"delete dev"}},
		"delete, stopped": {&stopped, nil, []string{"delete dev"}},
		"image name only": {&running, ptr(with(func(s *machine.Spec) { s.Image = "debian:bookworm" })), []string{"configure dev", "start dev"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := reconciletest.New()
			if tt.have != nil {
				h = reconciletest.New(*tt.have)
			}
			var specs []machine.Spec
			if tt.want != nil {
				specs = append(specs, *tt.want)
			}
			apply(t, h, specs...)
			if d := cmp.Diff(tt.call, h.Calls()); d != "" {
				t.Errorf("calls mismatch (-want +got):\n%s", d)
			}
			if again := planFor(t, h, specs...); !again.Empty() {
				t.Errorf("the plan is not empty:\n%s", reconcile.Text(again))
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestApplyStartsHaltedMachines(t *testing.T) {
	h := reconciletest.New()
	apply(t, h, spec("dev"))
	if err := reconcile.Apply(t.Context(), h, reconcile.Halt(situation(h)), reconcile.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := h.Machines()[0].State; got != machine.Stopped {
		t.Fatalf("after halt, the machine is %v", got)
	}
	apply(t, h, spec("dev"))
	if got := h.Machines()[0].State; got != machine.Running {
		t.Errorf("after another apply, the machine is %v", got)
	}
}

func TestFailureDoesNotStopOtherMachines(t *testing.T) {
	h := reconciletest.New()
	broken := errors.New("no kernel")
	h.Fail = func(op, id string) error {
		if id == "b" && op == "start" {
			return broken
		}
		return nil
	}
	for parallelism := range 4 {
		plan := planFor(t, h, spec("a"), spec("b"), spec("c"))
		err := reconcile.Apply(t.Context(), h, plan, reconcile.Options{Parallelism: parallelism})
		var failed *reconcile.ChangeError
		if !errors.Is(err, broken) || !errors.As(err, &failed) || failed.ID != "b" || failed.Step != "start" {
			t.Fatalf("Apply = %v, want the error of starting b", err)
		}
		var running []string
		for _, m := range h.Machines() {
			if m.State == machine.Running {
				running = append(running, m.ID)
			}
		}
		if d := cmp.Diff([]string{"a", "c"}, running); d != "" {
			t.Errorf("running machines mismatch (-want +got):\n%s", d)
		}
	}
}

func TestNothingChangesIfTheHostRefusesAMachine(t *testing.T) {
	h := reconciletest.New()
	h.Fail = func(op, id string) error {
		if op == "check" && id != "a" {
			return fmt.Errorf("this host has no nested virtualization")
		}
		return nil
	}
	err := reconcile.Apply(t.Context(), h, planFor(t, h, spec("a"), spec("b"), spec("c")), reconcile.Options{})
	if err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("Apply = %v, want an error that names both machines", err)
	}
	if calls := h.Calls(); len(calls) != 0 {
		t.Errorf("the host was changed: %v", calls)
	}
}

func TestRefusedSettingLeavesMachineRunning(t *testing.T) {
	h := reconciletest.New()
	apply(t, h, spec("dev"))
	h.Fail = func(op, _ string) error {
		if op == "configure" {
			return errors.New("disk full")
		}
		return nil
	}
	other := spec("dev")
	other.CPUs = 4
	if err := reconcile.Apply(t.Context(), h, planFor(t, h, other), reconcile.Options{}); err == nil {
		t.Fatal("Apply hid the failure")
	}
	if got := h.Machines()[0].State; got != machine.Running {
		t.Errorf("the machine is %v, want running", got)
	}
}

func TestFailedServicesAreRetried(t *testing.T) {
	h := reconciletest.New()
	apply(t, h, spec("dev"))
	other := spec("dev")
	other.Services = []string{"redis"}
	h.Fail = func(op, _ string) error {
		if op == "services" {
			return errors.New("unit not found")
		}
		return nil
	}
	if err := reconcile.Apply(t.Context(), h, planFor(t, h, other), reconcile.Options{}); err == nil {
		t.Fatal("Apply hid the failure")
	}
	h.Fail = nil
	if plan := planFor(t, h, other); plan.Count(reconcile.Update) != 1 {
		t.Errorf("the next plan does not try again:\n%s", reconcile.Text(plan))
	}
}

func TestNoStepStartsAfterAnInterrupt(t *testing.T) {
	h := reconciletest.New()
	ctx, interrupt := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	h.Fail = func(op, id string) error {
		if op == "create" && id == "a" {
			interrupt(why) // while a is being created
		}
		return nil
	}
	err := reconcile.Apply(ctx, h, planFor(t, h, spec("a"), spec("b")), reconcile.Options{Parallelism: 1})
	if !errors.Is(err, why) {
		t.Errorf("Apply = %v, want the cause of the interrupt", err)
	}
	if d := cmp.Diff([]string{"create a"}, h.Calls()); d != "" {
		t.Errorf("calls mismatch (-want +got):\n%s", d)
	}
	if got := h.Machines()[0].State; got != machine.Stopped {
		t.Errorf("the running step did not finish: a is %v", got)
	}
}

func TestEventsOfAChange(t *testing.T) {
	h := reconciletest.New()
	h.Fail = func(op, id string) error {
		if op == "create" && id == "bad" {
			return errors.New("no space")
		}
		return nil
	}
	got := map[string][]string{}
	events := func(e reconcile.Event) { // needs no lock: calls do not overlap
		got[e.ID] = append(got[e.ID], strings.TrimSpace(e.Kind.String()+" "+e.Step))
		if (e.Err != nil) != (e.Kind == reconcile.Failed) || e.Action != reconcile.Create {
			t.Errorf("unexpected event %+v", e)
		}
	}
	if err := reconcile.Apply(t.Context(), h, planFor(t, h, spec("bad"), spec("good")), reconcile.Options{Events: events}); err == nil {
		t.Fatal("Apply hid the failure")
	}
	want := map[string][]string{
		"bad":  {"began", "stepped creating", "failed"},
		"good": {"began", "stepped creating", "stepped starting", "done"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events mismatch (-want +got):\n%s", d)
	}
}

func TestParallelismIsLimited(t *testing.T) {
	h := reconciletest.New()
	var specs []machine.Spec
	for i := range 9 {
		specs = append(specs, spec(fmt.Sprintf("m%d", i)))
	}
	var open []string
	most := 0
	events := func(e reconcile.Event) {
		switch e.Kind {
		case reconcile.Began:
			open = append(open, e.ID)
		case reconcile.Done, reconcile.Failed:
			open = slices.DeleteFunc(open, func(id string) bool { return id == e.ID })
		default:
		}
		most = max(most, len(open))
	}
	if err := reconcile.Apply(t.Context(), h, planFor(t, h, specs...), reconcile.Options{Parallelism: 3, Events: events}); err != nil {
		t.Fatal(err)
	}
	if most > 3 {
		t.Errorf("%d machines at a time, want at most 3", most)
	}
}

func TestChangeErrorNamesMachineAndStep(t *testing.T) {
	why := errors.New("disk full")
	for want, err := range map[string]reconcile.ChangeError{
		`machine "a": create: disk full`:                  {ID: "a", Action: reconcile.Create, Step: "create", Err: why},
		`machine "a": restart: stop: disk full`:           {ID: "a", Action: reconcile.Restart, Step: "stop", Err: why},
		`machine "a": replace was not started: disk full`: {ID: "a", Action: reconcile.Replace, Err: why},
	} {
		if got := err.Error(); got != want {
			t.Errorf("the error is %q, want %q", got, want)
		}
	}
}
