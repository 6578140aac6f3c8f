package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/cmd/stead/project"

	"github.com/stead-vm/stead/provider/machine"

	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
	"github.com/stead-vm/stead/schemas"
)

// driftedProject returns a project with drift, whose plan fails in part.
func driftedProject() (reconcile.Situation, *reconciletest.Host) {
	owner := machine.Owner{Project: "acme", File: "/acme/machines.hcl"}
	spec := func(id string, cpus int) machine.Spec {
		return machine.Spec{ID: id, Image: "debian:12", Digest: "sha256:1", Owner: owner, Settings: machine.Settings{CPUs: cpus, Memory: 1 << 30, Disk: 1 << 30}}
	}
	running := func(s machine.Spec) machine.Machine {
		return machine.Machine{Spec: s, State: machine.Running, Booted: &s.Settings, DiskUsed: 1 << 20}
	}
	api, db := spec("api", 2), spec("db", 2)
	h := reconciletest.New(running(spec("api", 8)), running(spec("old", 1)))
	h.Fail = func(op, id string) error {
		if op == "create" && id == "db" {
			return errors.New("no space left")
		}
		return nil
	}
	return reconcile.Situation{
		Owner: owner, Have: h.Machines(),
		Want:    []reconcile.Goal{{Spec: api}, {Spec: db}, {Spec: spec("web", 1), After: []string{"db"}}},
		Applied: map[string]machine.Baseline{"api": {Spec: api}},
	}, h
}

// showApply plans and applies driftedProject, and shows it in a view.
func showApply(t *testing.T, v project.View) {
	t.Helper()
	s, h := driftedProject()
	plan, err := reconcile.Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	v.Plan(plan)
	var did reconcile.Outcome
	err = reconcile.Apply(context.Background(), h, plan, reconcile.Options{Events: func(e reconcile.Event) {
		did.Add(e)
		v.Event(e)
	}})
	v.Interrupted()
	v.Outcome(plan, did, err)
}

func TestJSONLinesMatchTheirSchema(t *testing.T) {
	var out bytes.Buffer
	showApply(t, &jsonView{w: &out, now: time.Now})
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		conforms(t, schemas.Events(), []byte(line))
		_, rest, _ := strings.Cut(line, `"type":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		seen[kind] = true
	}
	for _, kind := range []string{
		"version", "drift", "planned_change", "plan_summary", "apply_start", "apply_step", "apply_done", "apply_failed",
		"interrupted", "apply_summary",
	} {
		if !seen[kind] {
			t.Errorf("no line has the type %s:\n%s", kind, &out)
		}
	}
	if !strings.HasPrefix(out.String(), `{"type":"version"`) {
		t.Errorf("the first line is not a version:\n%s", &out)
	}
}

func TestOutcomeOfAnApply(t *testing.T) {
	var out, progress bytes.Buffer
	a := &app{out: &printer{&out}, err: &printer{&progress}, cause: func() error { return nil }}
	showApply(t, a.view(false))
	for _, want := range []string{
		"Changed outside of machines.hcl", "! machine.api  cpus 2 -> 8", "restart  cpus 8 -> 2",
		"Done: 1 restarted, 1 deleted.", "Failed: db.", "Not started: web.", `Run "stead apply" to continue`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, &out)
		}
	}
	for _, want := range []string{"api: restarted", "db: creating", "db: create failed", "Press Ctrl-C again"} {
		if !strings.Contains(progress.String(), want) {
			t.Errorf("the progress output lacks %q:\n%s", want, &progress)
		}
	}
}
