package main

import (
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/charmbracelet/log"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/logfile"
)

// newSuperviseCmd is the process of one running machine. Starting a machine re-executes the
// program with it; users never need it.
func newSuperviseCmd(a *app) *cobra.Command {
	var logPath string
	cmd := &cobra.Command{
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
			p, err := a.openLogged(logPath)
			if err != nil {
				local.ReportFailure(started, err)
				return err
			}
			return p.Supervise(cmd.Context(), args[0], started)
		},
	}
	cmd.Flags().StringVar(&logPath, "log", "", "file to log to (default: standard error)")
	return cmd
}

// openLogged opens the provider of a process that logs to a file, which also gets the report of
// a crash.
func (a *app) openLogged(path string) (*local.Provider, error) {
	if path != "" {
		w, err := logfile.Open(path, func(f *os.File) { _ = debug.SetCrashOutput(f, debug.CrashOptions{}) })
		if err != nil {
			return nil, err
		}
		a.err = &printer{w}
	}
	return a.open()
}
