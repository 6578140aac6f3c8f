package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stead-vm/stead/provider/size"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

func newImageCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "image",
		Short:   "Manage images",
		Example: "stead image import local/dev:1 image.tar\nstead image prune",
	}
	cmd.AddCommand(newImageImportCmd(a), newImageLsCmd(a), newImageRmCmd(a), newImagePruneCmd(a))
	return showHelp(cmd)
}

func newImageImportCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import NAME FILE",
		Short: "Import an image from a file",
		Long: "Import an image from FILE under NAME, such as local/dev:1. FILE is an archive that \"docker save\"\n" +
			"wrote, an OCI archive, the directory of an OCI layout, or a tarball of a root file system.",
		Example: "stead image import local/dev:1 image.tar",
		Args:    takesArgs(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			bars := a.newProgress()
			img, err := p.Images.Import(cmd.Context(), args[0], args[1], bars.event(args[0]))
			bars.wait()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, img.Reference)
			return err
		},
	}
}

// imageItem is one image in `image ls --format json`.
type imageItem struct {
	Reference   string    `json:"reference"`
	Digest      string    `json:"digest"`
	Platform    string    `json:"platform"`
	Size        int64     `json:"size"`     // bytes of its blobs
	DiskSize    int64     `json:"diskSize"` // bytes that its cached disks occupy
	Imported    bool      `json:"imported"`
	UsedBy      []string  `json:"usedBy"` // machines made from it
	CreatedDate time.Time `json:"createdDate,omitzero"`
	Problem     string    `json:"problem,omitempty"`
}

func newImageLsCmd(a *app) *cobra.Command {
	var quiet bool
	var format string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images of this host",
		Example: "stead image ls",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			items, err := a.images(cmd.Context())
			switch {
			case err != nil:
				return err
			case quiet:
				for _, i := range items {
					fmt.Fprintln(a.out, i.Reference)
				}
				return nil
			case format == "json":
				return writeIndented(a.out, items)
			case format == "table":
				return imageTable(a.out, items)
			}
			return unknownFormat(format)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only names")
	formatFlag(cmd, &format)
	return cmd
}

func (a *app) images(ctx context.Context) ([]imageItem, error) {
	p, err := a.open()
	if err != nil {
		return nil, err
	}
	entries, err := p.Images.List(ctx)
	if err != nil {
		return nil, err
	}
	made, err := p.Bundles.MadeFrom()
	items := make([]imageItem, 0, len(entries))
	for _, e := range entries {
		items = append(items, imageItem{
			Reference: e.Reference, Digest: e.Digest, Platform: e.Platform.String(), Size: e.Size, DiskSize: e.Disks.Real,
			Imported: e.Imported, UsedBy: append([]string{}, made[e.Digest]...), CreatedDate: e.Created, Problem: e.Problem,
		})
	}
	return items, err
}

func imageTable(w io.Writer, items []imageItem) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDIGEST\tPLATFORM\tSIZE\tDISKS\tCREATED\tUSED BY")
	for _, i := range items {
		created := "-"
		if !i.CreatedDate.IsZero() {
			created = units.HumanDuration(time.Since(i.CreatedDate)) + " ago"
		}
		fmt.Fprintf(t, "%s\t%.19s\t%s\t%s\t%s\t%s\t%s\n", i.Reference, i.Digest, i.Platform,
			size.Measured(i.Size), size.Measured(i.DiskSize), created, dash(strings.Join(i.UsedBy, ", ")))
	}
	return t.Flush()
}

func newImageRmCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Short:   "Remove images; machines keep their disks",
		Example: "stead image rm local/dev:1",
		Args:    takesArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			for _, name := range args {
				if _, err := p.Images.Remove(cmd.Context(), name); err != nil {
					return err
				}
				fmt.Fprintln(a.out, name)
			}
			return nil
		},
	}
}
