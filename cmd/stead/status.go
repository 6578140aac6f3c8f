package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/reconcile"
)

func newStatusCmd(a *app) *cobra.Command {
	var o projectOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the project's machines and what is pending",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			brief()
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, err := pr.plan(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.showStatus(pr, plan)
		},
	}
	o.flags(cmd)
	return cmd
}

// showStatus lists each machine that the project declares or owns.
func (a *app) showStatus(pr *project, plan reconcile.Plan) error {
	fmt.Fprintf(a.out, "Project %s, %s\n\n", styles(a.out).bold(pr.Name), pr.File)
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tSTATE\tPENDING\tIMAGE\tPROBLEM")
	for _, c := range plan.Changes {
		var m provider.Machine
		if i := slices.IndexFunc(pr.found, func(m provider.Machine) bool { return m.ID == c.ID }); i >= 0 {
			m = pr.found[i]
		}
		image := m.Image
		if image == "" && c.Want != nil {
			image = c.Want.Image
		}
		pending := "-"
		if c.Action != reconcile.None {
			pending = c.Action.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.ID, m.State, pending, image, dash(m.Problem))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if by, held := pr.provider.ProjectHolder(pr.File); held {
		fmt.Fprintf(a.out, "\nIt is being changed by %s.\n", by)
	}
	if !plan.Empty() {
		fmt.Fprintf(a.out, "\n\"stead plan\" shows what is pending, \"stead apply\" does it.\n")
	}
	return nil
}
