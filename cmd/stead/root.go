package main

import "github.com/spf13/cobra"

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "stead",
		Short: "Persistent Linux machines, checked in",
		Long: "stead makes the Linux machines that a project's machines.hcl declares, and keeps them so.\n" +
			"A machine is a persistent VM from an OCI image: its own init, your home folder, and you in it.",
		Example: "stead apply            # make the machines of ./machines.hcl\n" +
			"stead shell            # be in one\n" +
			"stead run make test    # or run one command there",
		PersistentPreRun: func(cmd *cobra.Command, _ []string) { a.command = cmd.CommandPath() },
	}
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "say what is being done, on standard error")
	root.AddGroup(
		&cobra.Group{ID: "project", Title: "Project"},
		&cobra.Group{ID: "inside", Title: "Being inside"},
		&cobra.Group{ID: "machines", Title: "Machines and images"},
	)
	group(root, "project", newPlanCmd(a), newApplyCmd(a), newWatchCmd(a), newStatusCmd(a), newDestroyCmd(a), newAdoptCmd(a))
	group(root, "inside", newRunCmd(a), newShellCmd(a))
	group(root, "machines", newMachineCmd(a), newLsCmd(a), newStartCmd(a), newStopCmd(a), newRmCmd(a), newLogsCmd(a), newImportCmd(a), newImageCmd(a), newDfCmd(a))
	root.AddCommand(newDoctorCmd(a), newVersionCmd(), newSuperviseCmd(a))
	root.AddCommand(systemCommands(a)...)
	return root
}

func group(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}
