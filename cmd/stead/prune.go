package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/usage"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/image"
)

func newImagePruneCmd(a *app) *cobra.Command {
	var o usage.PruneOptions
	var all, approved bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove unused images and cached disks",
		Long: "Remove data that nothing uses: layers of tags that have moved, parts of interrupted pulls,\n" +
			"leftovers of killed commands, and cached disks of removed images or of other versions of stead.\n" +
			"Machines keep their disks. Waits for commands that work with images.\n\n" +
			"Named images stay, and so do their cached disks, from which new machines are cloned.\n" +
			"--disks also removes all cached disks: creating a machine from an image then takes longer, once.\n" +
			"--all also removes images that no machine was created from, and asks for approval first.",
		Example: "stead image prune --dry-run\nstead image prune --all --disks",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			m := p.Usage()
			if all {
				if o.Images, err = m.UnusedImages(cmd.Context()); err != nil {
					return err
				}
			}
			return a.prune(cmd.Context(), m, o, approved)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "also remove images that no machine was created from")
	f.BoolVar(&o.Disks, "disks", false, "also remove all cached disks")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would be removed, and remove nothing")
	f.BoolVar(&approved, "auto-approve", false, "remove images without asking")
	return cmd
}

func (a *app) prune(ctx context.Context, m *usage.Meter, o usage.PruneOptions, approved bool) error {
	if len(o.Images) > 0 {
		fmt.Fprintln(a.out, "No machine was created from these images:")
		if err := a.listUnused(o.Images); err != nil {
			return err
		}
		if !approved && !o.DryRun {
			if err := a.ask(ctx, "Remove these images?"); err != nil {
				return err
			}
		}
	}
	pruned, err := m.Prune(ctx, o)
	if err != nil {
		return err
	}
	word := "Freed"
	if o.DryRun {
		word = "Would free"
	}
	fmt.Fprintf(a.out, "%s %s (images: %d, files: %d).\n", word, size.Measured(pruned.Freed), len(pruned.Images), pruned.Files)
	return nil
}

// listUnused lists images that are to be removed, and says which of them no registry has.
func (a *app) listUnused(images []image.Entry) error {
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, e := range images {
		note := ""
		if e.Imported && !local.IsBuilt(e.Reference) {
			note = styles(a.out).remove("imported: cannot be pulled again")
		}
		fmt.Fprintf(t, "  - %s\t%s\t%s\n", e.Reference, size.Measured(e.Size), note)
	}
	return t.Flush()
}
