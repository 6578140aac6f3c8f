package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/reconcile"
)

// applyFlags are the flags of the commands that apply plans.
type applyFlags struct {
	approved    bool
	json        bool
	parallelism int
	patience    time.Duration // for services; see [project.ApplyOptions]
}

// servicesPatience is how long apply waits for the services of the machines that it started. Most
// services that cannot work fail by then.
const servicesPatience = 30 * time.Second

func (f *applyFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.approved, "auto-approve", false, "apply the plan without asking")
	cmd.Flags().BoolVar(&f.json, "json", false, "print events as JSON lines; requires --auto-approve")
	cmd.Flags().IntVar(&f.parallelism, "parallelism", 4, "number of machines to work on at the same time, memory permitting")
}

// check refuses flags that conflict.
func (f *applyFlags) check() error {
	switch {
	case f.json && !f.approved:
		return errors.New("--json requires --auto-approve: JSON output leaves no place for a prompt")
	case f.parallelism < 1:
		return fmt.Errorf("--parallelism must be at least 1, not %d", f.parallelism)
	}
	return nil
}

// options returns the options of a project's apply that the flags select.
func (f *applyFlags) options(a *app) project.ApplyOptions {
	o := project.ApplyOptions{View: a.view(f.json), Parallelism: f.parallelism, Patience: f.patience}
	if !f.approved {
		o.Approve = a.approve
	}
	return o
}

func newApplyCmd(a *app) *cobra.Command {
	var o projectFlags
	var how applyFlags
	var wait bool
	cmd := &cobra.Command{
		Use:   "apply [PLANFILE]",
		Short: "Create or update machines to match machines.hcl",
		Long: "Create or update machines to match machines.hcl: create, reconfigure, restart, replace or\n" +
			"delete them. Shows the plan first and asks for approval; only the answer yes approves it.\n\n" +
			"A machine is done when you can open a shell in it and its init has tried to start its services,\n" +
			"or 30 seconds later; --wait has no such limit. A service that failed is an error. No other command\n" +
			"can change the project until apply has ended.\n\n" +
			"PLANFILE is a plan that \"stead plan -o PLANFILE\" saved. It is applied without asking, and\n" +
			"refused if anything changed since then.",
		Example: "stead apply\n" +
			"stead apply --target dev --auto-approve\n" +
			"stead plan -o plan.bin && stead apply plan.bin",
		Args: takesArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := how.check(); err != nil {
				return err
			}
			if !wait {
				how.patience = servicesPatience
			}
			apply := func() (*project.Project, error) { return a.applyFile(cmd.Context(), o, how) }
			if len(args) == 1 {
				apply = func() (*project.Project, error) { return a.applySaved(cmd, args[0], how) }
			}
			pr, err := apply()
			if err != nil || !wait {
				return err
			}
			return pr.WaitServices(cmd.Context(), func(id string, services []string) {
				a.announce("Waiting for the services of " + id + ": " + strings.Join(services, ", "))
			})
		},
	}
	o.add(cmd)
	o.addPlanning(cmd)
	how.add(cmd)
	a.lockFlag(cmd)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the declared services are running")
	return cmd
}

// applyFile plans for the project file and applies the plan.
func (a *app) applyFile(ctx context.Context, o projectFlags, how applyFlags) (*project.Project, error) {
	pr, unlock, err := a.loadLocked(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	plan, s, err := pr.Plan(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	if o.RefreshOnly {
		return pr, a.acceptDrift(ctx, pr, s, plan, how)
	}
	return pr, pr.ApplyFirst(ctx, plan, s.FileOrder, how.options(a))
}

// acceptDrift asks whether to make the drift the new baseline, and does so.
func (a *app) acceptDrift(ctx context.Context, pr *project.Project, s reconcile.Situation, plan reconcile.Plan, how applyFlags) error {
	v := a.view(how.json)
	v.Plan(plan)
	if len(plan.Drift) == 0 {
		return nil
	}
	if !how.approved {
		if err := a.ask(ctx, "Accept this drift as the new baseline? No machine is changed."); err != nil {
			return err
		}
	}
	return pr.AcceptDrift(ctx, s, plan, v)
}

// applySaved applies a saved plan.
func (a *app) applySaved(cmd *cobra.Command, path string, how applyFlags) (*project.Project, error) {
	for _, name := range []string{"file", "pull", "target", "replace", "refresh-only", "no-restart"} {
		if cmd.Flags().Changed(name) {
			return nil, fmt.Errorf("--%s conflicts with a saved plan (%s)", name, path)
		}
	}
	return project.ApplySaved(cmd.Context(), a.host, path, how.options(a))
}
