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
	var report int
	cmd := &cobra.Command{
		Use:    "serve-share",
		Short:  "Serve one directory to a machine",
		Args:   takesArgs(0, 0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = a.logger()
			err := share.LimitMemory()
			if err == nil {
				err = share.Serve(cmd.Context(), o)
			}
			if err != nil && report > 0 {
				_ = fault.Write(os.NewFile(uintptr(report), "report"), err) // the supervisor may be gone
			}
			return err
		},
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "directory to serve")
	cmd.Flags().StringVar(&o.Socket, "socket", "", "unix socket to listen on")
	cmd.Flags().IntVar(&report, "report", 0, "file descriptor on which to report an error")
	cmd.Flags().BoolVar(&o.ReadOnly, "read-only", false, "refuse every change")
	return cmd
}
