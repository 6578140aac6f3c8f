package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/usage"

	"github.com/spf13/cobra"
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
		Short: "Show the disk usage of machines and images",
		Long: "Show how much space everything in the state directory uses. SIZE is the apparent size, REAL the\n" +
			"allocated blocks. Disks are sparse and take only REAL on the host. Where the file system supports\n" +
			"clones, a machine's disk shares blocks with the cached disk that it was created from: shared\n" +
			"blocks count in both. Layers that images share count once in the total.\n\n" +
			"RECLAIMABLE is the most that \"stead image prune --disks --all\" can free.",
		Example: "stead df\nstead df -v",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			u, err := p.Usage().Measure(cmd.Context())
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
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "list each machine, image and file")
	formatFlag(cmd, &format)
	return cmd
}

func usageTable(w io.Writer, u usage.Report, verbose bool) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	header := "TYPE\tCOUNT\tSIZE\tREAL\tRECLAIMABLE"
	if verbose {
		header += "\tUSED BY"
	}
	fmt.Fprintln(t, header)
	row := func(name, count string, s space.Space, reclaimable int64, of string) {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s", name, count, size.Measured(s.Size), size.Measured(s.Real), size.Measured(reclaimable))
		if verbose {
			fmt.Fprintf(t, "\t%s", of)
		}
		fmt.Fprintln(t)
	}
	var all usage.Group
	for _, g := range u.Groups {
		row(g.Kind, fmt.Sprint(g.Count), g.Space, g.Reclaimable, "")
		all.Space, all.Reclaimable = all.Plus(g.Space), all.Reclaimable+g.Reclaimable
		for _, i := range g.Items {
			if verbose {
				row("  "+i.Name, "", i.Space, i.Reclaimable, i.Owner+strings.Join(i.Users, ", "))
			}
		}
	}
	row("total", "", all.Space, all.Reclaimable, "")
	if err := t.Flush(); err != nil {
		return err
	}
	switch {
	case u.Unneeded == 0 && all.Reclaimable > 0:
		fmt.Fprintf(w, "\n\"stead image prune --disks --all\" frees up to %s.\n", size.Measured(all.Reclaimable))
	case all.Reclaimable > 0:
		fmt.Fprintf(w, "\n\"stead image prune\" frees %s of unused data; with --disks and --all it frees up to %s.\n",
			size.Measured(u.Unneeded), size.Measured(all.Reclaimable))
	}
	return nil
}

func report(u usage.Report) dfReport {
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
