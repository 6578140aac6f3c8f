package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
)

// dfReport is `df --format json`; schemas/df.schema.json describes it. Sizes are bytes.
type dfReport struct {
	Version  int       `json:"version"` // of this form; new keys do not raise it
	Home     string    `json:"home"`
	Groups   []dfGroup `json:"groups"`
	Unneeded int64     `json:"unneeded"` // what "image prune" frees without flags
}

type dfGroup struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	dfSpace
	Items []dfItem `json:"items"`
}

type dfItem struct {
	Name    string   `json:"name"`
	Project string   `json:"project,omitempty"`
	UsedBy  []string `json:"usedBy,omitempty"`
	dfSpace
}

type dfSpace struct {
	VirtualSize int64 `json:"virtualSize"`
	RealSize    int64 `json:"realSize"`
	Reclaimable int64 `json:"reclaimable"`
}

func newDfCmd(a *app) *cobra.Command {
	var verbose bool
	var format string
	cmd := &cobra.Command{
		Use:   "df",
		Short: "Show what machines and images take on this host",
		Long: "Show what everything in the state folder takes: SIZE as it looks, REAL in allocated blocks.\n" +
			"Disks are sparse, so that REAL is what counts. Where the file system clones files, a machine's\n" +
			"disk shares blocks with the cached disk that it was made from; they count in both, and freeing\n" +
			"one then frees only what is not shared. Layers that images share count once in their sum.\n\n" +
			"RECLAIMABLE is what \"stead image prune --disks --all\" frees at most.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			u, err := p.Usage(cmd.Context())
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return writeIndented(a.out, report(u))
			case "table":
				return usageTable(a.out, u, verbose)
			}
			return unknownFormat(format)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "each machine, image and file")
	formatFlag(cmd, &format)
	return cmd
}

func usageTable(w io.Writer, u provider.Usage, verbose bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	header := "WHAT\tCOUNT\tSIZE\tREAL\tRECLAIMABLE"
	if verbose {
		header += "\tOF"
	}
	fmt.Fprintln(t, header)
	row := func(name, count string, s image.Space, reclaimable int64, of string) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s", name, count, size(s.Size), size(s.Real), size(reclaimable))
		if verbose {
			fmt.Fprintf(t, "\t%s", of)
		}
		fmt.Fprintln(t)
	}
	var all provider.UsageGroup
	for _, g := range u.Groups {
		row(g.Kind, fmt.Sprint(g.Count), g.Space, g.Reclaimable, "")
		all.Space, all.Reclaimable = all.Plus(g.Space), all.Reclaimable+g.Reclaimable
		for _, i := range g.Items {
			if verbose {
				row("  "+i.Name, "", i.Space, i.Reclaimable, i.Owner+strings.Join(i.Users, ", "))
			}
		}
	}
	row("all", "", all.Space, all.Reclaimable, "")
	if err := t.Flush(); err != nil {
		return err
	}
	if all.Reclaimable > 0 {
		fmt.Fprintf(w, "\n\"stead image prune\" frees %s that nothing needs; with --disks and --all up to %s.\n",
			size(u.Unneeded), size(all.Reclaimable))
	}
	return nil
}

func report(u provider.Usage) dfReport {
	r := dfReport{Version: 1, Home: u.Home, Unneeded: u.Unneeded}
	for _, g := range u.Groups {
		group := dfGroup{Kind: g.Kind, Count: g.Count, dfSpace: dfSpace{g.Size, g.Real, g.Reclaimable}, Items: []dfItem{}}
		for _, i := range g.Items {
			group.Items = append(group.Items, dfItem{
				Name: i.Name, Project: i.Owner, UsedBy: i.Users, dfSpace: dfSpace{i.Size, i.Real, i.Reclaimable},
			})
		}
		r.Groups = append(r.Groups, group)
	}
	return r
}
