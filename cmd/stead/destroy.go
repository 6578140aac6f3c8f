package main

import (
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/reconcile"
)

func newDestroyCmd(a *app) *cobra.Command {
	var o projectOptions
	var approved bool
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Remove the project's machines and their disks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, err := reconcile.Destroy(pr.ending(o))
			if err != nil {
				return err
			}
			return a.carryOut(cmd.Context(), pr, plan, approved)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringSliceVar(&o.target, "target", nil, "remove this machine, and those that depend on it, alone")
	cmd.Flags().BoolVar(&approved, "auto-approve", false, "do not ask")
	return cmd
}
