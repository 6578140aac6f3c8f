package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/supervisor"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/reconcile"
)

// newMachineCmd is the group of imperative commands, named as in Apple's `container
// machine`. The most used ones have short forms at the top level.
func newMachineCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "machine",
		Aliases: []string{"m"},
		Short:   "Manage individual machines",
		Long: "Create and manage machines that belong to no project. The commands and flags are those of\n" +
			"Apple's \"container machine\".",
		Example: "stead machine create debian:12\nstead machine inspect debian-12",
	}
	cmd.AddCommand(newCreateCmd(a), newRunCmd(a), newLsCmd(a), newInspectCmd(a),
		newStartCmd(a), newStopCmd(a), newRmCmd(a), newLogsCmd(a))
	return showHelp(cmd)
}

// startOne boots a machine unless it already runs, and shows progress.
func (a *app) startOne(ctx context.Context, p *local.Provider, id string) error {
	m, err := p.Machines.Get(ctx, id)
	if err != nil {
		return err
	}
	if !m.Active() {
		if err := a.warnOfSpeed(ctx, p, m.Platform); err != nil {
			return err
		}
		a.announce("Starting " + id)
	}
	bars := a.newProgress()
	err = p.Start(ctx, id, bars.event(id))
	bars.wait()
	if err != nil {
		return fmt.Errorf("machine %s: %w", id, err)
	}
	return nil
}

// announce says on a terminal what the command begins to wait for.
func (a *app) announce(what string) {
	if isTerminal(a.err) {
		fmt.Fprintf(a.err, "%s ...\n", what)
	}
}

// announceStop says that a machine is being stopped, if it is not off already. The lock alone
// tells: a supervisor that hangs would delay the answer to a question.
func (a *app) announceStop(p *local.Provider, id string) {
	b, err := p.Bundles.Existing(id)
	if err != nil {
		return // the command itself reports it
	}
	if alive, err := b.Supervised(); err == nil && alive {
		a.announce("Stopping " + id)
	}
}

// warnOfSpeed warns of what makes machines for a platform slow on this host.
func (a *app) warnOfSpeed(ctx context.Context, p *local.Provider, want platform.Platform) error {
	warning, err := p.Loader.SpeedWarning(ctx, want)
	if err == nil && warning != "" {
		a.warn(warning)
	}
	return err
}

// warn prints a line that a user should know of, once per command.
func (a *app) warn(text string) {
	if !a.warned {
		a.warned = true
		fmt.Fprintf(a.err, "%s %s\n", styles(a.err).change("Warning:"), text)
	}
}

func newStartCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "start [NAME]",
		Short:             "Boot a machine",
		Example:           "stead start\nstead start dev",
		Args:              takesArgs(0, 1),
		ValidArgsFunction: a.nameArg,
		RunE: a.onTarget(func(ctx context.Context, p *local.Provider, id string) error {
			if err := a.startOne(ctx, p, id); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.out, id)
			return err
		}),
	}
	a.lockFlag(cmd)
	return cmd
}

func newStopCmd(a *app) *cobra.Command {
	var how local.StopOptions
	var o projectFlags
	var all bool
	stopOne := a.onTarget(func(ctx context.Context, p *local.Provider, id string) error {
		a.announceStop(p, id)
		if err := p.Stop(ctx, id, how); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.out, id)
		return err
	})
	cmd := &cobra.Command{
		Use:               "stop [NAME]",
		Short:             "Shut down a machine and keep its disk",
		Example:           "stead stop dev\nstead stop --project",
		Args:              takesArgs(0, 1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case how.Grace <= 0:
				return errors.New("--time must be positive; use --force to cut the power at once")
			case all && len(args) > 0:
				return errors.New("--project stops all machines of the project: leave out the name")
			case all:
				return a.stopProject(cmd.Context(), o)
			case o.File != "":
				return errors.New("--file requires --project; to cut a machine's power use --force")
			}
			return stopOne(cmd, args)
		},
	}
	cmd.Flags().DurationVarP(&how.Grace, "time", "t", supervisor.DefaultGrace, "how long to wait for a clean shutdown before pressing the power button")
	cmd.Flags().BoolVar(&how.Force, "force", false, "cut the power at once")
	cmd.Flags().BoolVar(&all, "project", false, "stop all machines of the project")
	o.add(cmd)
	a.lockFlag(cmd)
	return cmd
}

// stopProject stops every machine that the project owns.
func (a *app) stopProject(ctx context.Context, o projectFlags) error {
	pr, unlock, err := a.loadLocked(ctx, o)
	if err != nil {
		return err
	}
	defer unlock()
	return pr.CarryOut(ctx, reconcile.Halt(pr.TeardownSituation(o.Options)), project.ApplyOptions{View: a.view(false)})
}

func newRmCmd(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Remove stopped machines and their disks",
		Example:           "stead rm old",
		Args:              takesArgs(1, -1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			// Check all before removing the first.
			for _, id := range args {
				m, err := p.Machines.Get(cmd.Context(), id)
				if err != nil {
					return err
				}
				if m.Active() && !force {
					return &machine.RunningError{ID: id}
				}
			}
			for _, id := range args {
				a.announceStop(p, id)
				if err := p.Delete(cmd.Context(), id, nil); err != nil {
					return err
				}
				fmt.Fprintln(a.out, id)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "stop running machines first")
	a.lockFlag(cmd)
	return cmd
}
