package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
)

func newLogsCmd(a *app) *cobra.Command {
	var supervisor, follow bool
	cmd := &cobra.Command{
		Use:               "logs [NAME]",
		Short:             "Show a machine's console",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.nameArg,
		RunE: a.onTarget(func(ctx context.Context, p *provider.Provider, id string) error {
			which := provider.ConsoleLog
			if supervisor {
				which = provider.SupervisorLog
			}
			path, err := p.LogPath(id, which)
			if err != nil {
				return err
			}
			return show(ctx, a.out, path, follow)
		}),
	}
	cmd.Flags().BoolVar(&supervisor, "supervisor", false, "show what its supervisor did instead")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as it grows")
	return cmd
}

// show copies the file to w and, when told to follow, what is added until ctx ends. A
// machine that never ran has no log and shows nothing.
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
