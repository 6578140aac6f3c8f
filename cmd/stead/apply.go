package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newApplyCmd(a *app) *cobra.Command {
	var o projectOptions
	var approved, wait bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make the machines be as the project file says",
		Long: "Make the machines be as the project file says: create, reconfigure, restart or remove them.\n" +
			"The plan is shown first and needs the literal answer yes. A machine is done when you can be in\n" +
			"it; its services may still be starting unless --wait is given.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			pr, err := a.load(ctx, o)
			if err != nil {
				return err
			}
			plan, err := pr.plan(ctx, o)
			if err != nil {
				return err
			}
			before, err := pr.provider.Default()
			if err != nil {
				return err
			}
			if err := a.carryOut(ctx, pr, plan, approved); err != nil {
				return err
			}
			if first := pr.first(); before == "" && first != "" && !plan.Empty() {
				// Machines are made side by side: the first in the file is the default.
				if err := pr.provider.SetDefault(first); err != nil {
					return err
				}
			}
			if !wait {
				return nil
			}
			var errs []error
			for _, m := range pr.Machines {
				if err := pr.provider.WaitServices(ctx, m.Name); err != nil {
					errs = append(errs, fmt.Errorf("machine %s: %w", m.Name, err))
				}
			}
			return errors.Join(errs...)
		},
	}
	o.flags(cmd)
	o.planFlags(cmd)
	cmd.Flags().BoolVar(&approved, "auto-approve", false, "do not ask")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the declared services are up")
	return cmd
}
