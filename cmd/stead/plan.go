package main

import (
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/cmd/stead/project"
)

// changesPending is plan's exit code with --detailed-exitcode when something would change.
const changesPending = exitError(2)

func newPlanCmd(a *app) *cobra.Command {
	var o projectFlags
	var json, detailed bool
	var out string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Long: "Show what apply would change, and what was changed outside of machines.hcl since the last\n" +
			"apply. Changes and builds nothing. docs/planning.md describes every action.",
		Example: "stead plan\n" +
			"# exit with 2 if something would change\nstead plan --detailed-exitcode\n" +
			"# save the plan and apply exactly that\nstead plan -o plan.bin && stead apply plan.bin",
		Args: takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			collectLessGarbage()
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, s, err := pr.Plan(cmd.Context(), o.Options)
			if err != nil {
				return err
			}
			a.view(json).Plan(plan)
			if out != "" {
				if err := project.SavePlan(out, s, plan); err != nil {
					return err
				}
			}
			if detailed && (!plan.Empty() || o.RefreshOnly && len(plan.Drift) > 0) {
				return changesPending
			}
			return nil
		},
	}
	o.add(cmd)
	o.addPlanning(cmd)
	cmd.Flags().BoolVar(&json, "json", false, "print JSON lines (schemas/events.schema.json)")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 if something would change, with 0 if not")
	cmd.Flags().StringVarP(&out, "out", "o", "", "save the plan to a file for \"stead apply FILE\"")
	_ = cmd.MarkFlagFilename("out")
	cmd.MarkFlagsMutuallyExclusive("out", "refresh-only")
	return cmd
}
