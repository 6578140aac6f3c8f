package main

import "github.com/spf13/cobra"

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "stead",
		Short: "Persistent Linux machines, checked in",
		Long: "Create and keep the Linux machines that a project declares in machines.hcl.\n" +
			"A machine is a persistent VM made from an OCI image. It runs the image's own init,\n" +
			"mounts your home directory, and has a user with your name.",
		Example: "# create or update the machines of ./machines.hcl\nstead apply\n\n" +
			"# open a login shell in the default machine\nstead shell\n\n" +
			"# run a command there, in this directory\nstead run make test",
		PersistentPreRun: func(cmd *cobra.Command, _ []string) { a.command = cmd.CommandPath() },
	}
	root.SetFlagErrorFunc(newFlagError)
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "log what stead does to standard error")
	cobra.EnableCommandSorting = false // the order below is the order of use
	root.AddGroup(
		&cobra.Group{ID: "daily", Title: "Every day"},
		&cobra.Group{ID: "project", Title: "Project"},
		&cobra.Group{ID: "machines", Title: "Machines"},
		&cobra.Group{ID: "host", Title: "Images and this host"},
	)
	group(root, "daily", newPlanCmd(a), newApplyCmd(a), newStatusCmd(a), newShellCmd(a), newRunCmd(a))
	group(root, "project", newWatchCmd(a), newDestroyCmd(a), newAdoptCmd(a), newImportCmd(a))
	group(root, "machines", newLsCmd(a), newStartCmd(a), newStopCmd(a), newRmCmd(a), newLogsCmd(a), newMachineCmd(a))
	group(root, "host", newImageCmd(a), newDfCmd(a), newDoctorCmd(a), newVersionCmd())
	root.SetHelpCommandGroupID("host")
	root.SetCompletionCommandGroupID("host")
	root.AddCommand(newSuperviseCmd(a))
	root.AddCommand(systemCommands(a)...)
	return showHelp(root)
}

func group(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}
