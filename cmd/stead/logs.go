package main

import (
	"context"
	"errors"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/logfile"

	"github.com/spf13/cobra"
)

func newLogsCmd(a *app) *cobra.Command {
	var supervisor, follow, raw bool
	cmd := &cobra.Command{
		Use:               "logs [NAME]",
		Short:             "Show the boot console of a machine",
		Example:           "stead logs dev\nstead logs -f --supervisor dev",
		Args:              takesArgs(0, 1),
		ValidArgsFunction: a.nameArg,
		RunE: a.onTarget(func(ctx context.Context, p *local.Provider, id string) error {
			which := bundle.ConsoleLog
			if supervisor {
				which = bundle.SupervisorLog
			}
			b, err := p.Bundles.Existing(id)
			if err != nil {
				return err
			}
			if raw || !isTerminal(a.out) {
				return logfile.Copy(ctx, a.out.raw, b.Path(which), follow)
			}
			filter := &logFilter{to: a.out}
			return errors.Join(logfile.Copy(ctx, filter, b.Path(which), follow), filter.flush())
		}),
	}
	cmd.Flags().BoolVar(&supervisor, "supervisor", false, "show the log of its supervisor instead")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing as the log grows")
	cmd.Flags().BoolVar(&raw, "raw", false, "print escape sequences as they are, also on a terminal")
	return cmd
}
