package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

func newImageCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Images that machines are made from"}
	cmd.AddCommand(newImageImportCmd(a), newImageLsCmd(a), newImageRmCmd(a))
	return cmd
}

func newImageImportCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import NAME FILE",
		Short: "Take an image from a file under a name",
		Long: "Take an image from FILE and call it NAME, such as local/dev:1. FILE is an archive of\n" +
			"docker save, an OCI archive or layout folder, or a tarball of a root file system.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			bars := newProgress(a.err)
			img, err := p.Images().Import(cmd.Context(), args[0], args[1], bars.event(args[0]))
			bars.wait()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, img.Reference)
			return err
		},
	}
}

func newImageLsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images of this host",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			entries, err := p.Images().List(cmd.Context())
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tDIGEST\tPLATFORM\tSIZE\tCREATED")
			for _, e := range entries {
				created := "-"
				if !e.Created.IsZero() {
					created = units.HumanDuration(time.Since(e.Created)) + " ago"
				}
				fmt.Fprintf(t, "%s\t%.19s\t%s\t%s\t%s\n", e.Reference, e.Digest, e.Platform, size(e.Size), created)
			}
			return t.Flush()
		},
	}
}

func newImageRmCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME...",
		Short: "Remove images and what only they used; machines keep their disks",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			for _, name := range args {
				if err := p.Images().Remove(cmd.Context(), name); err != nil {
					return err
				}
				fmt.Fprintln(a.out, name)
			}
			return nil
		},
	}
}
