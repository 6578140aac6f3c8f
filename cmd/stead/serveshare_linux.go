package main

import (
	"os"

	"github.com/stead-vm/stead/provider/fault"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/share"
)

// systemCommands are the commands that only this system has.
func systemCommands(a *app) []*cobra.Command { return []*cobra.Command{newServeShareCmd(a)} }

// newServeShareCmd is the file server of one shared directory. A supervisor re-executes
// the program with it; users never need it.
func newServeShareCmd(a *app) *cobra.Command {
	var o share.Options
	cmd := &cobra.Command{
		Use:    "serve-share",
		Short:  "Serve one directory to a machine",
		Args:   takesArgs(0, 0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = a.logger()
			err := share.Serve(cmd.Context(), o)
			if err != nil {
				_ = fault.Write(os.NewFile(share.ReportFD, "report"), err) // the supervisor may be gone
			}
			return err
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "directory to serve")
	cmd.Flags().StringVar(&o.Socket, "socket", "", "unix socket to listen on")
	cmd.Flags().BoolVar(&o.ReadOnly, "read-only", false, "refuse every change")
	return cmd
}
