package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

func newStatusCmd(a *app) *cobra.Command {
	var o projectFlags
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the project's machines and pending changes",
		Example: "stead status",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			collectLessGarbage()
			pr, err := a.load(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan, _, err := pr.Plan(cmd.Context(), o.Options)
			if err != nil {
				return err
			}
			return a.showStatus(pr, plan)
		},
	}
	o.add(cmd)
	return cmd
}

// firstLine returns what comes before the lines that a guest printed.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// showStatus lists each machine that the project declares or owns.
func (a *app) showStatus(pr *project.Project, plan reconcile.Plan) error {
	fmt.Fprintf(a.out, "Project %s, %s\n\n", styles(a.out).bold(pr.Name), pr.File)
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tSTATE\tPENDING\tIMAGE\tPROBLEM")
	for _, c := range plan.Changes {
		m := pr.Find(c.ID)
		if m == nil {
			m = &machine.Machine{}
		}
		image := m.Image
		if image == "" && c.Want != nil {
			image = c.Want.Image
		}
		pending := "-"
		if c.Action != reconcile.None {
			pending = c.Action.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.ID, stateText(*m), pending, image, dash(firstLine(m.Problem)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if by, held := pr.Holder(); held {
		fmt.Fprintf(a.out, "\nThe project is being changed by %s.\n", by)
	}
	if !plan.Empty() {
		fmt.Fprintf(a.out, "\nRun \"stead plan\" to see the pending changes, \"stead apply\" to apply them.\n")
	}
	return nil
}
