package main

import (
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/reconcile"
)

func newDestroyCmd(a *app) *cobra.Command {
	var o projectOptions
	var how applyOptions
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Remove the project's machines and their disks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := how.check(); err != nil {
				return err
			}
			pr, unlock, err := a.loadAlone(cmd.Context(), o)
			if err != nil {
				return err
			}
			defer unlock()
			plan, err := reconcile.Destroy(pr.ending(o))
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), pr, plan, how)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringSliceVar(&o.target, "target", nil, "remove this machine, and those that depend on it, alone")
	how.flags(cmd)
	a.lockFlag(cmd)
	return cmd
}
