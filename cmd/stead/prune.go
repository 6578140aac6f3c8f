package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
)

func newImagePruneCmd(a *app) *cobra.Command {
	var o provider.PruneOptions
	var all, approved bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Free what nothing needs; machines keep their disks",
		Long: "Free what nothing needs: layers of tags that have moved, parts of interrupted pulls, what\n" +
			"killed commands left, and cached disks of images that are gone or that another version made.\n\n" +
			"Images with a name stay, and so do their cached disks, from which new machines are cloned.\n" +
			"--disks frees all cached disks: the next machine of an image takes longer, once. --all\n" +
			"removes the images too that no machine was made from, and asks first. It waits for\n" +
			"commands that work with images.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			if all {
				if o.Images, err = p.UnusedImages(cmd.Context()); err != nil {
					return err
				}
			}
			return a.prune(cmd.Context(), p, o, approved)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "images too that no machine was made from")
	f.BoolVar(&o.Disks, "disks", false, "all cached disks")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what would go, and change nothing")
	f.BoolVar(&approved, "auto-approve", false, "do not ask")
	return cmd
}

func (a *app) prune(ctx context.Context, p *provider.Provider, o provider.PruneOptions, approved bool) error {
	if len(o.Images) > 0 {
		fmt.Fprintln(a.out, "No machine was made from these images:")
		if err := a.showGoing(o.Images); err != nil {
			return err
		}
		if !approved && !o.DryRun {
			if err := a.ask(ctx, "Remove them?"); err != nil {
				return err
			}
		}
	}
	pruned, err := p.Prune(ctx, o)
	if err != nil {
		return err
	}
	word := "Freed"
	if o.DryRun {
		word = "This would free"
	}
	fmt.Fprintf(a.out, "%s %s (images: %d, files: %d).\n", word, size(pruned.Freed), len(pruned.Images), pruned.Files)
	return nil
}

// showGoing lists images that are to be removed, and which of them no registry has.
func (a *app) showGoing(images []image.Entry) error {
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for _, e := range images {
		note := ""
		if e.Imported && !provider.Built(e.Reference) {
			note = styles(a.out).remove("imported: only its file brings it back")
		}
		fmt.Fprintf(t, "  - %s\t%s\t%s\n", e.Reference, size(e.Size), note)
	}
	return t.Flush()
}
