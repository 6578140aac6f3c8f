package main

import (
	"fmt"
	"io"

	"github.com/charmbracelet/fang"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/reconcile"
)

// Values of --drift.
const (
	driftReport = "report"
	driftRepair = "repair"
)

func newWatchCmd(a *app) *cobra.Command {
	var o projectFlags
	var poll bool
	drift := driftReport
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Apply changes to machines.hcl as you save them",
		Long: "Follow machines.hcl and the files that it reads, and apply changes as you save them. Changes\n" +
			"that lose data, or give a machine more of this host than you agreed to, wait until you run\n" +
			"\"stead apply\", and so do stopped machines that depend on them.\n\n" +
			"Changes made outside of machines.hcl, such as a machine that you stop by hand, are only reported.\n" +
			"--drift=repair reverts them.",
		Example: "stead watch\nstead watch --drift=repair",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if drift != driftReport && drift != driftRepair {
				return fmt.Errorf("--drift must be %s or %s, not %q", driftReport, driftRepair, drift)
			}
			return project.Watch(cmd.Context(), a.host, o.Options, project.WatchOptions{
				RepairDrift: drift == driftRepair, Poll: poll, Log: a.logger(),
				Begin: func(file string) { fmt.Fprintf(a.out, "Watching %s. Press Ctrl-C to stop.\n", file) },
				Tell:  a.tellNews,
				View:  func() project.View { return spacedView{a.view(false), a.out} },
			})
		},
	}
	o.add(cmd)
	a.lockFlag(cmd)
	cmd.Flags().StringVar(&drift, "drift", drift, "what to do with changes made outside of machines.hcl: report or repair")
	cmd.Flags().BoolVar(&poll, "poll", false, "check files every second, for a file system that does not report changes")
	_ = cmd.RegisterFlagCompletionFunc("drift", cobra.FixedCompletions([]string{driftReport, driftRepair}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// tellNews prints the news of a watch: problems, drift and plans that wait.
func (a *app) tellNews(n reconcile.News) {
	fmt.Fprintln(a.out)
	switch {
	case n.Err != nil:
		a.printError(a.err, fang.Styles{}, n.Err)
	case n.Mended:
		fmt.Fprintln(a.out, "The problem is resolved.")
	case n.Waiting != nil:
		(&humanView{app: a}).Plan(*n.Waiting)
		fmt.Fprintln(a.out, styles(a.out).bold("Waiting for approval:"), `run "stead apply" to apply this plan.`)
	}
}

// spacedView sets each plan apart from what was printed before.
type spacedView struct {
	project.View
	out io.Writer
}

func (v spacedView) Plan(p reconcile.Plan) {
	fmt.Fprintln(v.out)
	v.View.Plan(p)
}
