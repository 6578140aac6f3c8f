package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/size"
)

// Symbol returns the mark of an action in a plan: "+", "~", "-", "-/+", or "" for None.
func (a Action) Symbol() string {
	if a < numActions {
		return [...]string{"", "+", "~", "~", "~", "~", "~", "~", "~", "-/+", "-"}[a]
	}
	return "?"
}

// Text returns a plan as text to show: drift, changes and a summary. A change begins with
// its symbol, right-aligned in three columns, and lists one difference a line. The text
// ends in a newline and has no colour.
func Text(p Plan) string {
	var b strings.Builder
	b.WriteString(driftText(p.Drift))
	name, action := widths(p)
	for _, c := range p.Changes {
		if c.Action == None {
			continue
		}
		head := fmt.Sprintf("%3s %-*s  %-*s", c.Action.Symbol(), name, machineName(c), action, c.Action)
		indent := strings.Repeat(" ", len(head))
		for i, reason := range c.reasons() {
			if i > 0 {
				head = indent
			}
			b.WriteString(strings.TrimRight(head+"  "+reason, " ") + "\n")
		}
	}
	if !p.Empty() {
		b.WriteString("\n")
	}
	b.WriteString(summary(p) + "\n")
	return b.String()
}

// driftText returns the section of a plan that lists drift.
func driftText(drift []Drift) string {
	if len(drift) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("Changed outside of machines.hcl since the last apply:\n")
	width := 0
	for _, d := range drift {
		width = max(width, len(d.ID))
	}
	for _, d := range drift {
		lines := make([]string, 0, len(d.Attrs)+1)
		if d.What != "" {
			lines = append(lines, d.What)
		}
		for _, a := range d.Attrs {
			lines = append(lines, a.plain())
		}
		for i, line := range lines {
			name := "machine." + d.ID
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  ! %-*s  %s\n", len("machine.")+width, name, line)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// widths returns the widths of a plan's columns.
func widths(p Plan) (name, action int) {
	for _, c := range p.Changes {
		if c.Action != None {
			name = max(name, len(machineName(c)))
			action = max(action, len(c.Action.String()))
		}
	}
	return name, action
}

func machineName(c Change) string { return "machine." + c.ID }

// reasons returns the lines that say why a machine changes and what happens to its disk. It
// returns at least one line.
func (c *Change) reasons() []string {
	var lines []string
	if c.From != "" {
		lines = append(lines, "moved from machine."+c.From)
	}
	for _, a := range c.Attrs {
		if c.Action == Create {
			lines = append(lines, a.Name+" "+a.New)
		} else {
			lines = append(lines, a.String())
		}
	}
	if c.Action == Create {
		lines = []string{strings.Join(lines, ", ")}
	}
	if c.Action == Repair {
		lines = append(lines, strings.TrimPrefix(c.Have.Problem+"; ", "; ")+"keeps its disk")
	}
	if c.Action.LosesDisk() {
		lines = append(lines, "destroys its disk ("+size.Measured(c.DataLost)+" used)")
	}
	if len(lines) == 0 {
		return []string{""}
	}
	return lines
}

// String returns the difference as a plan shows it: "cpus 2 -> 4", or "disk 64G -> 32G  #
// forces replacement".
func (a AttrChange) String() string {
	switch {
	case a.ForcesReplacement:
		return a.plain() + "  # forces replacement"
	case a.Pending:
		return a.plain() + "  # needs a restart"
	}
	return a.plain()
}

// plain returns the difference without a remark: "services + redis, - nginx".
func (a AttrChange) plain() string {
	switch {
	case a.List:
		return a.Name + " " + listDiff(elements(a.Old), elements(a.New))
	case a.Name == "replacement", a.Name == buildContext, a.Name == dockerfile:
		return a.Name + " " + a.New
	}
	return a.Name + " " + orDefault(a.Old) + " -> " + orDefault(a.New)
}

// listDiff marks the elements that are added and removed. If there are none, the lists
// differ in their order.
func listDiff(from, to []string) string {
	var parts []string
	for _, s := range to {
		if !slices.Contains(from, s) {
			parts = append(parts, "+ "+s)
		}
	}
	for _, s := range from {
		if !slices.Contains(to, s) {
			parts = append(parts, "- "+s)
		}
	}
	if len(parts) == 0 {
		return "reordered: " + strings.Join(to, ", ")
	}
	return strings.Join(parts, ", ")
}

func elements(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ", ")
}

func orDefault(s string) string {
	if s == "" {
		return "(default)"
	}
	return short(s)
}

// short shortens a digest to its first twelve digits.
func short(s string) string {
	const algorithm, digits = "sha256:", 12
	if strings.HasPrefix(s, algorithm) && len(s) > len(algorithm)+digits {
		return s[:len(algorithm)+digits]
	}
	return s
}

// summary returns the last line of a plan.
func summary(p Plan) string {
	switch {
	case p.DriftOnly && len(p.Drift) == 0:
		return "Nothing changed outside of machines.hcl since the last apply."
	case p.DriftOnly:
		return "No machine is changed. Applying this plan accepts these changes as the new baseline."
	}
	if p.Empty() {
		switch {
		case p.Teardown:
			return "No machines to delete."
		case p.pending():
			return "No changes, except for settings that need a restart."
		}
		return "No changes. Machines match machines.hcl."
	}
	var parts []string
	for _, group := range []struct {
		verb    string
		actions []Action
	}{
		{"create", []Action{Create}},
		{"update", []Action{Reconfigure, Update}},
		{"restart", []Action{Restart}},
		{"move", []Action{Move}},
		{"start", []Action{Start}},
		{"stop", []Action{Stop}},
		{"repair", []Action{Repair}},
		{"replace", []Action{Replace}},
		{"delete", []Action{Delete}},
	} {
		if n := p.Count(group.actions...); n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, group.verb))
		}
	}
	return "Plan: " + strings.Join(parts, ", ") + "."
}
