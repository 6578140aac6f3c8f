package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/provider/lock"
)

// projectFlags are the flags of the commands that work on a project file.
type projectFlags struct{ project.Options }

func (o *projectFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.File, "file", "f", "", "project file (default: the nearest machines.hcl)")
	_ = cmd.MarkFlagFilename("file", "hcl")
}

// addPlanning adds the flags that change what is planned.
func (o *projectFlags) addPlanning(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Pull, "pull", false, "ask registries which images tags refer to now")
	cmd.Flags().StringSliceVar(&o.Target, "target", nil, "plan only for this machine and those that it depends on")
	cmd.Flags().StringSliceVar(&o.Replace, "replace", nil, "replace this machine, which loses its disk")
	cmd.Flags().BoolVar(&o.RefreshOnly, "refresh-only", false, "show only what was changed outside of machines.hcl; apply accepts it")
	cmd.Flags().BoolVar(&o.NoRestart, "no-restart", false, "defer changes that need a restart")
}

// load reads the project file and looks at the host.
func (a *app) load(ctx context.Context, o projectFlags) (*project.Project, error) {
	return project.Load(ctx, a.host, o.Options)
}

// loadLocked is load for a command that changes the project: no other one does until
// unlock.
func (a *app) loadLocked(ctx context.Context, o projectFlags) (pr *project.Project, unlock func(), err error) {
	return project.LoadLocked(ctx, a.host, o.Options)
}

// lockFlag is for the commands that change machines, one at a time. By default they wait
// for each other: what a second command does is right after the first one, too, and the
// user sees what it waits for.
func (a *app) lockFlag(cmd *cobra.Command) {
	cmd.Flags().Func("lock-timeout",
		"how long to wait for a command that holds the lock, such as 5m; 0s fails at once (default: no limit)",
		func(text string) error {
			d, err := parseLimit(text)
			if err == nil && d == 0 {
				d = lock.NoWait
			}
			a.lockTimeout = d
			return err
		})
}
