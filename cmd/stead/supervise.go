package main

import (
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
)

// newSuperviseCmd is the process of one running machine. Start re-executes the program
// with it; a person never needs to.
func newSuperviseCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "supervise MACHINE",
		Short:  "Own one running machine",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			// Inherited descriptors go on to children, which would keep the pipe open.
			syscall.CloseOnExec(provider.ReportFD)
			return p.Supervise(cmd.Context(), args[0], os.NewFile(provider.ReportFD, "report"))
		},
	}
}
