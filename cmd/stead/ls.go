package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// lsItem is one machine in `ls --format json` (Apple's keys).
type lsItem struct {
	ID          string    `json:"id"`
	Status      string    `json:"status"`
	Default     bool      `json:"default"`
	IPAddress   string    `json:"ipAddress,omitempty"`
	CPUs        int       `json:"cpus"`
	Memory      int64     `json:"memory"`   // bytes
	DiskSize    int64     `json:"diskSize"` // bytes that it occupies
	CreatedDate time.Time `json:"createdDate"`
	Problem     string    `json:"problem,omitempty"`
	Unreachable time.Time `json:"unreachableSince,omitzero"`
}

func newLsCmd(a *app) *cobra.Command {
	var quiet bool
	var format string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the machines of this host",
		Example: "stead ls\nstead ls --format json",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.open()
			if err != nil {
				return err
			}
			machines, err := p.Machines.List(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case quiet:
				for _, m := range machines {
					fmt.Fprintln(a.out, m.ID)
				}
				return nil
			case format == "json":
				return listJSON(a.out, machines)
			case format == "table":
				return errors.Join(listTable(a.out, machines), listProblems(a.out, machines))
			}
			return unknownFormat(format)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print only names")
	formatFlag(cmd, &format)
	return cmd
}

// formatFlag is for the commands that list things.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "table", "output format: table or json")
}

func unknownFormat(format string) error {
	return fmt.Errorf("--format must be table or json, not %s", format)
}

func listTable(w io.Writer, machines []machine.Machine) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tCREATED\tIP\tCPUS\tMEMORY\tDISK\tSTATE\tDEFAULT")
	for _, m := range machines {
		created, mark := "-", ""
		if !m.Created.IsZero() {
			created = units.HumanDuration(time.Since(m.Created)) + " ago"
		}
		if m.Default {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", m.ID, created, dash(m.Address),
			m.CPUs, size.Setting(m.Memory), size.Measured(m.DiskUsed), stateText(m), mark)
	}
	return t.Flush()
}

// listProblems says what is wrong with which machine.
func listProblems(w io.Writer, machines []machine.Machine) (err error) {
	for _, m := range machines {
		if m.Problem != "" && err == nil {
			_, err = fmt.Fprintf(w, "\n%s: %s\n", m.ID, firstLine(m.Problem))
		}
	}
	return err
}

// stateText describes a machine's state, and since when it is unreachable.
func stateText(m machine.Machine) string {
	if t := unreachableSince(m); !t.IsZero() {
		return m.State.String() + " since " + since(t)
	}
	return m.State.String()
}

// unreachableSince returns when an unreachable machine last answered, or zero for any other.
func unreachableSince(m machine.Machine) time.Time {
	if m.State != machine.Unreachable {
		return time.Time{}
	}
	return m.Heard
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func listJSON(w io.Writer, machines []machine.Machine) error {
	items := make([]lsItem, 0, len(machines))
	for _, m := range machines {
		items = append(items, lsItem{
			ID: m.ID, Status: m.State.String(), Default: m.Default, IPAddress: m.Address,
			CPUs: m.CPUs, Memory: m.Memory, DiskSize: m.DiskUsed, CreatedDate: m.Created,
			Problem:     m.Problem,
			Unreachable: unreachableSince(m),
		})
	}
	return writeIndented(w, items)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
