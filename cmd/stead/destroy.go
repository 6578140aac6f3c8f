package main

import (
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/reconcile"
)

func newDestroyCmd(a *app) *cobra.Command {
	var o projectFlags
	var how applyFlags
	cmd := &cobra.Command{
		Use:     "destroy",
		Short:   "Delete the project's machines and their disks",
		Example: "stead destroy\nstead destroy --target test",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := how.check(); err != nil {
				return err
			}
			pr, unlock, err := a.loadLocked(cmd.Context(), o)
			if err != nil {
				return err
			}
			defer unlock()
			plan, err := reconcile.Destroy(pr.TeardownSituation(o.Options))
			if err != nil {
				return err
			}
			return pr.Apply(cmd.Context(), plan, how.options(a))
		},
	}
	o.add(cmd)
	cmd.Flags().StringSliceVar(&o.Target, "target", nil, "delete only this machine and those that depend on it")
	how.add(cmd)
	a.lockFlag(cmd)
	return cmd
}
