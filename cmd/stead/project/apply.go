package project

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/transfer"
	"github.com/stead-vm/stead/reconcile"
)

// View shows plans and progress. Its methods are called by several goroutines.
type View interface {
	// Plan shows a plan.
	Plan(p reconcile.Plan)
	// Event and Progress show the progress of an apply.
	Event(e reconcile.Event)
	Progress(id string) transfer.Progress
	// Interrupted shows that the running steps are being finished or undone.
	Interrupted()
	// Waiting shows that the declared services of a machine are waited for.
	Waiting(id string, services []string)
	// Late shows for which machines' services it was not waited any longer.
	Late(ids []string)
	// Warn shows a warning.
	Warn(text string)
	// Outcome shows what was done, what was not, and how to continue. It does not show err.
	Outcome(p reconcile.Plan, did reconcile.Outcome, err error)
}

// ApplyOptions say how a plan is applied.
type ApplyOptions struct {
	View        View // required
	Parallelism int  // machines to change at the same time; default: the engine's
	// Patience is how long to wait for the services of the machines that were started, to report
	// those that fail at once. 0: do not wait.
	Patience time.Duration
	// Approve asks whether to apply the plan, and returns an error if the answer is no. If it
	// is nil, the plan is approved.
	Approve func(ctx context.Context, p reconcile.Plan) error
}

// Apply shows the plan, asks, and makes it true.
func (pr *Project) Apply(ctx context.Context, plan reconcile.Plan, o ApplyOptions) error {
	_, err := pr.apply(ctx, plan, o)
	return err
}

// ApplyFirst is Apply for commands that may create a host's first machines. These are
// created side by side; of those that exist then, the first in the file becomes the
// default. order are the machines as they stand in the file.
func (pr *Project) ApplyFirst(ctx context.Context, plan reconcile.Plan, order []string, o ApplyOptions) error {
	before, err := pr.host.Default()
	if err != nil {
		return err
	}
	changed, err := pr.apply(ctx, plan, o)
	if before != "" || !changed {
		return err
	}
	return errors.Join(err, pr.chooseDefault(context.WithoutCancel(ctx), order))
}

// apply reports whether it has changed a machine, or tried to.
func (pr *Project) apply(ctx context.Context, plan reconcile.Plan, o ApplyOptions) (changed bool, err error) {
	o.View.Plan(plan)
	if !plan.Empty() && o.Approve != nil {
		if err := o.Approve(ctx, plan); err != nil {
			return false, err
		}
	}
	if err := pr.warnOfSpeed(ctx, plan, o.View); err != nil {
		return false, err
	}
	return pr.carryOut(ctx, plan, o)
}

// CarryOut makes an approved plan true. A plan without changes only writes notes.
func (pr *Project) CarryOut(ctx context.Context, plan reconcile.Plan, o ApplyOptions) error {
	_, err := pr.carryOut(ctx, plan, o)
	return err
}

func (pr *Project) carryOut(ctx context.Context, plan reconcile.Plan, o ApplyOptions) (changed bool, err error) {
	defer context.AfterFunc(ctx, o.View.Interrupted)()
	var did reconcile.Outcome
	err = reconcile.Apply(ctx, pr.host.Provider(pr.Owner(), o.View.Progress), plan, reconcile.Options{
		Parallelism: o.Parallelism, Memory: pr.host.AvailableMemory(),
		Events: func(e reconcile.Event) {
			did.Add(e)
			o.View.Event(e)
		},
	})
	err = errors.Join(err, pr.tryServices(ctx, started(plan, did), o))
	o.View.Outcome(plan, did, err)
	return did.Changed(), err
}

// started returns the wanted machines that were started and have services.
func started(plan reconcile.Plan, did reconcile.Outcome) []machine.Spec {
	var specs []machine.Spec
	for _, c := range plan.Changes {
		if c.Want != nil && !c.Stopped && len(c.Want.Services) > 0 && did.Done(c.ID) {
			specs = append(specs, *c.Want)
		}
	}
	return specs
}

// tryServices returns an error for each machine with a service that fails within o.Patience. It
// waits for all machines at the same time.
func (pr *Project) tryServices(ctx context.Context, specs []machine.Spec, o ApplyOptions) error {
	if o.Patience == 0 || len(specs) == 0 {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	errs, late := make([]error, len(specs)), make([]bool, len(specs))
	var all sync.WaitGroup
	for i, s := range specs {
		o.View.Waiting(s.ID, s.Services)
		all.Go(func() {
			err := pr.host.WaitServices(waiting, s.ID)
			switch {
			case err == nil:
			case waiting.Err() == nil:
				errs[i] = fmt.Errorf("machine %s: %w", s.ID, err)
			default:
				errs[i], late[i] = context.Cause(ctx), ctx.Err() == nil
			}
		})
	}
	all.Wait()
	var ids []string
	for i, s := range specs {
		if late[i] {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) > 0 {
		o.View.Late(ids)
	}
	return errors.Join(errs...)
}

// chooseDefault makes the first existing machine in order the default.
func (pr *Project) chooseDefault(ctx context.Context, order []string) error {
	found, err := pr.host.Machines(ctx)
	if err != nil {
		return err
	}
	now := Project{Found: found}
	for _, id := range order {
		if m := now.Find(id); m != nil && m.Owner == pr.Owner() {
			return pr.host.SetDefault(id)
		}
	}
	return nil
}

// warnOfSpeed shows one warning if machines that the plan boots are slow on this host.
func (pr *Project) warnOfSpeed(ctx context.Context, plan reconcile.Plan, v View) error {
	for _, p := range booted(plan) {
		warning, err := pr.host.SpeedWarning(ctx, p)
		if err != nil {
			return err
		}
		if warning != "" {
			v.Warn(warning)
			return nil
		}
	}
	return nil
}

// booted returns the platforms of the machines that the plan boots, in the order of the plan.
func booted(plan reconcile.Plan) []platform.Platform {
	var platforms []platform.Platform
	for _, c := range plan.Changes {
		switch c.Action {
		case reconcile.None, reconcile.Delete, reconcile.Stop, reconcile.Update:
		default:
			if !c.Stopped && c.Want != nil {
				platforms = append(platforms, c.Want.Platform)
			}
		}
	}
	return slices.Compact(platforms)
}

// AcceptDrift makes the drift of a plan the new baseline, so that no later plan shows it.
func (pr *Project) AcceptDrift(ctx context.Context, s reconcile.Situation, plan reconcile.Plan, v View) error {
	return reconcile.Accept(ctx, pr.host.Provider(pr.Owner(), v.Progress), s, plan)
}

// WaitServices waits until the declared services of the project's machines run. Before it waits
// for those of a machine it calls waiting.
func (pr *Project) WaitServices(ctx context.Context, waiting func(id string, services []string)) error {
	var errs []error
	for _, m := range pr.Machines {
		if m.Stopped {
			continue
		}
		if len(m.Services) > 0 {
			waiting(m.Name, m.Services)
		}
		if err := pr.host.WaitServices(ctx, m.Name); err != nil {
			errs = append(errs, fmt.Errorf("machine %s: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}

// SavePlan writes a file for [ApplySaved]. It is readable by its owner only, because it
// contains paths.
func SavePlan(path string, s reconcile.Situation, plan reconcile.Plan) error {
	data, err := reconcile.Save(s, plan)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o600)
}

// maxSavedPlan bounds a saved plan, in bytes. It is larger than what made it.
const maxSavedPlan = 64 * size.MiB

// ApplySaved applies a saved plan, without asking for approval.
func ApplySaved(ctx context.Context, open Opener, path string, o ApplyOptions) (*Project, error) {
	data, err := regular.ReadFile(path, maxSavedPlan)
	if err != nil {
		return nil, err
	}
	saved, err := reconcile.LoadSaved(path, data)
	if err != nil {
		return nil, err
	}
	h, err := open()
	if err != nil {
		return nil, err
	}
	owner := saved.Situation.Owner
	unlock, err := h.LockProject(ctx, owner.File)
	if err != nil {
		return nil, err
	}
	defer unlock()
	pr := &Project{Project: &config.Project{Name: owner.Project, File: owner.File}, host: h}
	if pr.Found, err = h.Machines(ctx); err != nil {
		return nil, err
	}
	applied, err := h.Applied(owner)
	if err != nil {
		return nil, err
	}
	plan, err := saved.Fresh(pr.Found, applied)
	if err != nil {
		return nil, err
	}
	for _, w := range saved.Situation.Want {
		pr.Machines = append(pr.Machines, config.Machine{Name: w.ID, Stopped: w.Stopped})
	}
	o.Approve = nil
	return pr, pr.ApplyFirst(ctx, plan, saved.Situation.FileOrder, o)
}
