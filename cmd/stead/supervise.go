package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/log"
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
			// Inherited descriptors go on to children, which would keep the pipe open.
			syscall.CloseOnExec(provider.ReportFD)
			started := os.NewFile(provider.ReportFD, "report")
			// The end of a login session is no reason to hurry a graceful stop.
			signal.Ignore(syscall.SIGHUP)
			a.level = log.InfoLevel // its log is a file
			p, err := a.open()
			if err != nil {
				provider.ReportFailure(started, err)
				return err
			}
			return p.Supervise(cmd.Context(), args[0], started)
		},
	}
}
