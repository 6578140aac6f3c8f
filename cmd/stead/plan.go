package main

import (
	"os"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/reconcile"
)

// changesPending is plan's exit code with --detailed-exitcode when something would change.
const changesPending = exitError(2)

func newPlanCmd(a *app) *cobra.Command {
	var o projectOptions
	var json, detailed bool
	var out string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change",
		Long: "Show what apply would change, and what somebody changed outside of the project file since\n" +
			"the last apply. Nothing is changed or built. docs/planning.md says what each action means.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			brief()
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			s, err := pr.situation(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, err := o.diff(s)
			if err != nil {
				return err
			}
			a.view(json).plan(plan)
			if out != "" {
				if err := savePlan(out, s, plan); err != nil {
					return err
				}
			}
			if detailed && (!plan.Empty() || o.refreshOnly && len(plan.Drift) > 0) {
				return changesPending
			}
			return nil
		},
	}
	o.flags(cmd)
	o.planFlags(cmd)
	cmd.Flags().BoolVar(&json, "json", false, "print lines of JSON (schemas/events.schema.json)")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when something would change, with 0 when nothing would")
	cmd.Flags().StringVarP(&out, "out", "o", "", "save the plan to a file for \"stead apply FILE\"")
	_ = cmd.MarkFlagFilename("out")
	cmd.MarkFlagsMutuallyExclusive("out", "refresh-only")
	return cmd
}

// savePlan writes a file for apply. It is the user's alone, for paths are in it.
func savePlan(path string, s reconcile.Situation, plan reconcile.Plan) error {
	data, err := reconcile.Save(s, plan)
	if err != nil {
		return err
	}
	return renameio.WriteFile(path, data, 0o600)
}

// loadPlan reads what savePlan wrote.
func loadPlan(path string) (*reconcile.Saved, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return reconcile.LoadSaved(path, data)
}
