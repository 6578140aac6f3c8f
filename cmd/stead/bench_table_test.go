package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// side says who set up the machine of a figure.
type side uint8

const (
	byStead side = iota
	byHand
	numSides
)

// Names of the rows.
const (
	rowPlainDisk  = "image → disk, plain layer; cat tar > file"
	rowZstdDisk   = "image → disk, zstd layer; cat tar > file"
	rowGzipDisk   = "image → disk, gzip layers; umoci, mke2fs -d"
	rowGzipCPU    = "processor time, gzip layers; umoci, mke2fs -d"
	rowGzipMemory = "memory, gzip layers"
	rowZstdDisks  = "image → disk, zstd layers; zstd, tar, mke2fs -d"
	rowZstdCPU    = "processor time, zstd layers; zstd, tar, mke2fs -d"
	rowZstdMemory = "memory, zstd layers"
	rowSecond     = "second machine, where files are cloned"
	rowSpace      = "space of the second machine, where files are cloned"
	rowCopied     = "second machine, where files are copied"
	rowReady      = "create → ready; first ssh true"
	rowFirst      = "create → first command done"
	rowRunning    = "create → systemd is running"
	rowStop       = "stop"
	rowStart      = "start → ready; first ssh true"
	rowRestarted  = "start → systemd is running"
	rowFresh      = "run true; a fresh ssh true"
	rowMaster     = "run true; ssh true over ControlMaster"
	rowQEMU       = "memory of QEMU"
	rowSupervisor = "memory of the supervisor"
	rowShares     = "memory of the share servers, all"

	rowShareCreate   = "share: create 1,000 small files"
	rowShareStat     = "share: stat them, cold"
	rowShareFind     = "share: find, cold"
	rowShareFindStat = "share: find and stat, cold"
	rowShareRead     = "share: read them, cold"
	rowShareDelete   = "share: delete them"
	rowShareWrite    = "share: write 256 MiB"
	rowShareReadBig  = "share: read 256 MiB, cold"

	rowShareStatus      = "share: git status of 10,000 files, cold"
	rowShareStatusAgain = "share: git status again"
	rowShareNPM         = "share: npm ci, cold"
	rowShareIdle        = "share: memory of the file server"
	rowShareWalked      = "share: memory after a walk over 200,000 files"
	rowShareForgotten   = "share: memory after the guest has forgotten them"
)

// rows are the rows of the table, in order, each with its unit and its aim: a ratio, or a figure
// if there is nothing to compare with.
var rows = []struct{ name, unit, aim string }{
	{rowPlainDisk, "s", "≤ 2"},
	{rowZstdDisk, "s", "≤ 2"},
	{rowGzipDisk, "s", "≤ 0.33"},
	{rowGzipCPU, "s", "≤ 0.33"},
	{rowGzipMemory, "MiB", "< 64 MiB"},
	{rowZstdDisks, "s", "≤ 0.33"},
	{rowZstdCPU, "s", "≤ 0.33"},
	{rowZstdMemory, "MiB", "< 64 MiB"},
	{rowSecond, "s", "< 0.3 s"},
	{rowSpace, "KiB", ""},
	{rowCopied, "s", ""},
	{rowReady, "s", "≤ 0.4"},
	{rowFirst, "s", ""},
	{rowRunning, "s", "≤ 0.7"},
	{rowStop, "s", ""},
	{rowStart, "s", "≤ 0.4"},
	{rowRestarted, "s", "≤ 0.7"},
	{rowFresh, "ms", ""},
	{rowMaster, "ms", "≤ 1"},
	{rowQEMU, "MiB", ""},
	{rowSupervisor, "MiB", "< 30 MiB"},
	{rowShares, "MiB", ""},
	{rowShareCreate, "s", "≤ 0.77"},
	{rowShareStat, "s", "≤ 0.77"},
	{rowShareFind, "s", "≤ 0.77"},
	{rowShareFindStat, "s", "≤ 0.77"},
	{rowShareRead, "s", "≤ 0.77"},
	{rowShareDelete, "s", "≤ 0.77"},
	{rowShareWrite, "s", "≤ 1"},
	{rowShareReadBig, "s", "≤ 1"},
	{rowShareStatus, "s", "≤ 1"},
	{rowShareStatusAgain, "s", "≤ 1"},
	{rowShareNPM, "s", "≤ 1"},
	{rowShareIdle, "MiB", ""},
	{rowShareWalked, "MiB", "≤ 1"},
	{rowShareForgotten, "MiB", "≤ 1"},
}

// table collects figures by row.
type table struct {
	figures map[string]*[numSides][]float64
}

func (t *table) add(row string, who side, values ...float64) {
	if t.figures == nil {
		t.figures = map[string]*[numSides][]float64{}
	}
	if t.figures[row] == nil {
		t.figures[row] = new([numSides][]float64)
	}
	t.figures[row][who] = append(t.figures[row][who], values...)
}

// median returns the median of the measured values; ok is false if there are none.
func (t *table) median(row string, who side) (_ float64, ok bool) {
	if t.figures[row] == nil || len(t.figures[row][who]) == 0 {
		return 0, false
	}
	v := slices.Sorted(slices.Values(t.figures[row][who]))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// String returns the table.
func (t *table) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "what\tstead\tby hand\tratio\taim")
	for _, r := range rows {
		ours, okOurs := t.median(r.name, byStead)
		theirs, okTheirs := t.median(r.name, byHand)
		if !okOurs && !okTheirs {
			continue
		}
		ratio := "-"
		if okOurs && okTheirs {
			ratio = fmt.Sprintf("%.2f", ours/theirs)
		}
		aim := r.aim
		if aim == "" {
			aim = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.name, amount(ours, okOurs, r.unit), amount(theirs, okTheirs, r.unit), ratio, aim)
	}
	w.Flush() //nolint:errcheck // a Builder takes everything
	return text.String()
}

func amount(v float64, ok bool, unit string) string {
	switch {
	case !ok:
		return "-"
	case unit == "s":
		return fmt.Sprintf("%.2f s", v)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

func TestTableComparesMedians(t *testing.T) {
	var got table
	got.add(rowReady, byStead, 4, 9, 2)
	got.add(rowReady, byHand, 20, 10, 30, 20)
	got.add(rowSupervisor, byStead, 25)
	text := strings.Join(strings.Fields(got.String()), " ")
	for _, want := range []string{
		rowReady + " 4.00 s 20.00 s 0.20 ≤ 0.4",
		rowSupervisor + " 25 MiB - - < 30 MiB", // by hand, there is no supervisor
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, &got)
		}
	}
	if strings.Contains(text, rowStop) {
		t.Errorf("the table has %q, which was not measured:\n%s", rowStop, &got)
	}
}
