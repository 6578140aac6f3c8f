package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"

	"github.com/stead-vm/stead/reconcile"
)

// acme is the owner of the tests' machines.
var acme = machine.Owner{Project: "acme", File: "/acme/machines.hcl"}

// errand is the input of an apply in another process.
type errand struct {
	Home  string
	Want  []reconcile.Goal
	Moved map[string]string

	// StopAt is the number of the event, from 1, at which the apply prints a line and waits to be
	// killed. It then changes one machine at a time. 0: it does not wait.
	StopAt int
}

// applyErrand plans and applies the errand in a file.
func applyErrand(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var e errand
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	p, err := open(e.Home)
	if err != nil {
		return err
	}
	o := reconcile.Options{}
	if e.StopAt > 0 {
		o.Parallelism = 1
	}
	n := 0
	o.Events = func(event reconcile.Event) {
		n++
		if n == e.StopAt {
			fmt.Println("waiting at", event.ID, event.Action, event.Kind, event.Step)
			time.Sleep(time.Hour)
		}
	}
	_, err = e.apply(context.Background(), p, o, func(reconcile.Plan) { fmt.Println("planned") })
	return err
}

// apply does the work of "stead apply".
func (e *errand) apply(ctx context.Context, p *local.Provider, o reconcile.Options, planned func(reconcile.Plan)) (reconcile.Plan, error) {
	unlock, err := p.Bundles.Locks().Project(ctx, acme.File)
	if err != nil {
		return reconcile.Plan{}, err
	}
	defer unlock()
	plan, err := e.plan(ctx, p)
	if err != nil {
		return plan, err
	}
	planned(plan)
	return plan, reconcile.Apply(ctx, engineHost{p}, plan, o)
}

func (e *errand) plan(ctx context.Context, p *local.Provider) (reconcile.Plan, error) {
	have, err := p.Machines.List(ctx)
	if err != nil {
		return reconcile.Plan{}, err
	}
	applied, err := p.Bundles.Notes(acme).Applied()
	if err != nil {
		return reconcile.Plan{}, err
	}
	return reconcile.Diff(reconcile.Situation{Owner: acme, Want: e.Want, Have: have, Applied: applied, Moved: e.Moved})
}

// engineHost adapts the provider to the engine.
type engineHost struct{ *local.Provider }

func (h engineHost) Create(ctx context.Context, s machine.Spec) error {
	return h.Provider.Create(ctx, s, nil)
}

func (h engineHost) Replace(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return h.Provider.Replace(ctx, s, expect, nil)
}

func (h engineHost) Repair(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	return h.Provider.Repair(ctx, s, expect, nil)
}

func (h engineHost) Start(ctx context.Context, id string) error {
	return h.Provider.Start(ctx, id, nil)
}

func (h engineHost) Stop(ctx context.Context, id string) error {
	return h.Provider.Stop(ctx, id, local.StopOptions{})
}

func (h engineHost) Note(_ context.Context, id string, s *machine.Spec, stopped bool) error {
	return h.Bundles.Notes(acme).Write(id, s, stopped)
}
