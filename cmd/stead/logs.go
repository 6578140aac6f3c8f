package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/local"

	"github.com/spf13/cobra"
)

func newLogsCmd(a *app) *cobra.Command {
	var supervisor, follow bool
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
			return show(ctx, a.out, b.Path(which), follow)
		}),
	}
	cmd.Flags().BoolVar(&supervisor, "supervisor", false, "show the log of its supervisor instead")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing as the log grows")
	return cmd
}

// show copies the file to w and, with follow, what is added until ctx ends. A machine that
// never ran has no log.
func show(ctx context.Context, w io.Writer, path string, follow bool) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(w, f); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}
