package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/reconcile"
)

func newApplyCmd(a *app) *cobra.Command {
	var o projectOptions
	var how applyOptions
	var wait bool
	cmd := &cobra.Command{
		Use:   "apply [PLANFILE]",
		Short: "Make the machines be as the project file says",
		Long: "Make the machines be as the project file says: create, reconfigure, restart or remove them.\n" +
			"The plan is shown first and needs the literal answer yes. A machine is done when you can be in\n" +
			"it; its services may still be starting unless --wait is given. From planning to the end, your\n" +
			"answer included, no other command changes the project.\n\n" +
			"PLANFILE is what \"stead plan -o PLANFILE\" saved: it is carried out without asking, and refused\n" +
			"when something has changed since.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := how.check(); err != nil {
				return err
			}
			var err error
			var pr *project
			if len(args) == 1 {
				pr, err = a.applySaved(cmd, args[0], how)
			} else {
				pr, err = a.applyFile(cmd.Context(), o, how)
			}
			if err != nil || !wait {
				return err
			}
			return pr.waitServices(cmd.Context())
		},
	}
	o.flags(cmd)
	o.planFlags(cmd)
	how.flags(cmd)
	a.lockFlag(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the declared services are up")
	return cmd
}

// applyFile plans for the project file and carries the plan out.
func (a *app) applyFile(ctx context.Context, o projectOptions, how applyOptions) (*project, error) {
	pr, unlock, err := a.loadAlone(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := pr.situation(ctx, o)
	if err != nil {
		return nil, err
	}
	plan, err := o.diff(s)
	if err != nil {
		return nil, err
	}
	if o.refreshOnly {
		return pr, a.accept(ctx, pr, s, plan, how)
	}
	return pr, a.carryOutFirst(ctx, pr, plan, how)
}

// accept takes drift for what was applied, so that no plan tells of it again.
func (a *app) accept(ctx context.Context, pr *project, s reconcile.Situation, plan reconcile.Plan, how applyOptions) error {
	v := a.view(how.json)
	v.plan(plan)
	if len(plan.Drift) == 0 {
		return nil
	}
	if !how.approved {
		if err := a.ask(ctx, "Take this for what was applied? No machine is changed."); err != nil {
			return err
		}
	}
	return reconcile.Accept(ctx, host{pr.provider, pr.owner(), v}, s, plan)
}

// carryOutFirst is carryOut for commands that may make a host's first machines: as they
// are made side by side, the first in the file becomes the default.
func (a *app) carryOutFirst(ctx context.Context, pr *project, plan reconcile.Plan, how applyOptions) error {
	before, err := pr.provider.Default()
	if err != nil {
		return err
	}
	if err := a.carryOut(ctx, pr, plan, how); err != nil {
		return err
	}
	if first := pr.first(); before == "" && first != "" && !plan.Empty() {
		return pr.provider.SetDefault(first)
	}
	return nil
}

// applySaved carries out a saved plan. Whoever names the file has approved it.
func (a *app) applySaved(cmd *cobra.Command, path string, how applyOptions) (*project, error) {
	for _, name := range []string{"file", "pull", "target", "replace", "refresh-only", "no-restart"} {
		if cmd.Flags().Changed(name) {
			return nil, fmt.Errorf("--%s is for making a plan, and %s is one", name, path)
		}
	}
	saved, err := loadPlan(path)
	if err != nil {
		return nil, err
	}
	p, err := a.open()
	if err != nil {
		return nil, err
	}
	owner := saved.Situation.Owner
	unlock, err := p.LockProject(cmd.Context(), owner.File)
	if err != nil {
		return nil, err
	}
	defer unlock()
	pr := &project{Project: &config.Project{Name: owner.Project, File: owner.File}, provider: p}
	if pr.found, err = p.Observe(cmd.Context()); err != nil {
		return nil, err
	}
	applied, err := p.Applied(owner)
	if err != nil {
		return nil, err
	}
	plan, err := saved.Fresh(pr.found, applied)
	if err != nil {
		return nil, err
	}
	for _, w := range saved.Situation.Want {
		pr.Machines = append(pr.Machines, config.Machine{Name: w.ID, Stopped: w.Stopped})
	}
	how.approved = true
	return pr, a.carryOutFirst(cmd.Context(), pr, plan, how)
}

// waitServices returns when the declared services of the machines that run are up.
func (pr *project) waitServices(ctx context.Context) error {
	var errs []error
	for _, m := range pr.Machines {
		if m.Stopped {
			continue
		}
		if err := pr.provider.WaitServices(ctx, m.Name); err != nil {
			errs = append(errs, fmt.Errorf("machine %s: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}
