package main

import "github.com/spf13/cobra"

func newPlanCmd(a *app) *cobra.Command {
	var o projectOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, err := pr.plan(cmd.Context(), o)
			if err != nil {
				return err
			}
			a.showPlan(plan)
			return nil
		},
	}
	o.flags(cmd)
	o.planFlags(cmd)
	return cmd
}
