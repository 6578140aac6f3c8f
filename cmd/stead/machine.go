package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
)

// newMachineCmd is the group of imperative commands, named as in Apple's `container
// machine`. Those used every day have short forms at the top.
func newMachineCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "machine",
		Aliases: []string{"m"},
		Short:   "Make and handle single machines by hand",
	}
	cmd.AddCommand(newCreateCmd(a), newRunCmd(a), newLsCmd(a), newInspectCmd(a),
		newStartCmd(a), newStopCmd(a), newRmCmd(a), newLogsCmd(a))
	return cmd
}

// startOne boots a machine that may be running already, telling a person what takes
// the time.
func (a *app) startOne(ctx context.Context, p *provider.Provider, id string) error {
	m, err := p.Machine(ctx, id)
	if err != nil {
		return err
	}
	if m.State != provider.Running {
		if err := a.warnEmulation(ctx, p, m.Platform); err != nil {
			return err
		}
		if isTerminal(a.err) {
			fmt.Fprintf(a.err, "Starting %s ...\n", id)
		}
	}
	bars := a.newProgress()
	err = p.Start(ctx, id, bars.event(id))
	bars.wait()
	if err != nil {
		return fmt.Errorf("machine %s: %w", id, err)
	}
	return nil
}

// warnEmulation says once per command what makes machines for a platform slow on this host.
func (a *app) warnEmulation(ctx context.Context, p *provider.Provider, platform string) error {
	want, err := image.ParsePlatform(platform)
	if err != nil {
		return err
	}
	caps, err := p.Capabilities(ctx)
	if err != nil {
		return err
	}
	if warning := caps.WarningFor(want.Architecture); warning != "" && !a.warned {
		a.warned = true
		fmt.Fprintf(a.err, "%s %s\n", styles(a.err).change("Warning:"), warning)
	}
	return nil
}

func newStartCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "start [NAME]",
		Short:             "Boot a machine",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.nameArg,
		RunE: a.onTarget(func(ctx context.Context, p *provider.Provider, id string) error {
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
	var how provider.StopOptions
	var o projectOptions
	var all bool
	stopOne := a.onTarget(func(ctx context.Context, p *provider.Provider, id string) error {
		if err := p.Stop(ctx, id, how); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.out, id)
		return err
	})
	cmd := &cobra.Command{
		Use:               "stop [NAME]",
		Short:             "Shut a machine down; its disk stays",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return errors.New("--project means all machines of the file: leave the name out")
			case all:
				return a.stopProject(cmd.Context(), o)
			case o.file != "":
				return errors.New("--file goes with --project; to cut a machine's power use --force")
			}
			return stopOne(cmd, args)
		},
	}
	cmd.Flags().DurationVarP(&how.Grace, "time", "t", 0, "how long its init may take before the power button (default 1m)")
	cmd.Flags().BoolVar(&how.Force, "force", false, "cut the power")
	cmd.Flags().BoolVar(&all, "project", false, "stop all machines of the project file")
	o.flags(cmd)
	a.lockFlag(cmd)
	return cmd
}

// stopProject stops every machine that the project owns.
func (a *app) stopProject(ctx context.Context, o projectOptions) error {
	pr, unlock, err := a.loadAlone(ctx, o)
	if err != nil {
		return err
	}
	defer unlock()
	plan := reconcile.Halt(pr.ending(o))
	return a.apply(ctx, pr, plan, a.view(false), applyOptions{})
}

func newRmCmd(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm NAME...",
		Short:             "Remove stopped machines and their disks",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			// All are looked at before the first is removed.
			for _, id := range args {
				m, err := p.Machine(cmd.Context(), id)
				if err != nil {
					return err
				}
				if (m.State == provider.Running || m.State == provider.Booting) && !force {
					return &provider.RunningError{ID: id}
				}
			}
			for _, id := range args {
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
