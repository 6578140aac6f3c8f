package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/log"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/local"
)

// newSuperviseCmd is the process of one running machine. Starting a machine re-executes the
// program with it; users never need it.
func newSuperviseCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "supervise MACHINE",
		Short:  "Supervise one running machine",
		Args:   takesArgs(1, 1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			// Inherited descriptors go on to children, which would keep the pipe open.
			syscall.CloseOnExec(local.ReportFD)
			started := os.NewFile(local.ReportFD, "report")
			// The end of a login session must not cut a graceful stop short.
			signal.Ignore(syscall.SIGHUP)
			a.level = log.InfoLevel // its log is a file
			p, err := a.open()
			if err != nil {
				local.ReportFailure(started, err)
				return err
			}
			return p.Supervise(cmd.Context(), args[0], started)
		},
	}
}
