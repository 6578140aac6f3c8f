package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// ref is a machine's name that was written somewhere else than at its block.
type ref struct {
	name string
	at   hcl.Range
}

// references checks what machines say about each other, once all are known.
func (d *decoder) references(p *Project) {
	declared := map[string]*Machine{}
	var known []string
	for i := range p.Machines {
		if name := p.Machines[i].Name; name != "" {
			declared[name] = &p.Machines[i]
			known = append(known, name)
		}
	}
	for _, r := range d.refs {
		if declared[r.name] == nil {
			d.add(r.at, "", "there is no machine %q.%s", r.name, didYouMean(r.name, known))
		}
	}
	if len(d.problems.list) == 0 { // or a circle may be a typing mistake
		d.circle(p, declared)
	}
	d.movements(p, declared)
}

// circle refuses machines that wait for each other.
func (d *decoder) circle(p *Project, declared map[string]*Machine) {
	done := map[string]bool{}
	var path []string
	var visit func(m *Machine) bool
	visit = func(m *Machine) bool {
		if i := slices.Index(path, m.Name); i >= 0 {
			d.add(d.blocks[m.Pos], "Take one of the depends_on out.",
				"machines wait for each other: %s", strings.Join(append(path[i:], m.Name), " -> "))
			return false
		}
		if done[m.Name] {
			return true
		}
		path = append(path, m.Name)
		for _, name := range m.DependsOn {
			if !visit(declared[name]) {
				return false
			}
		}
		path = path[:len(path)-1]
		done[m.Name] = true
		return true
	}
	for i := range p.Machines {
		if !visit(&p.Machines[i]) {
			return
		}
	}
}

// movements refuses names that went two ways.
func (d *decoder) movements(p *Project, declared map[string]*Machine) {
	from := map[string]bool{}
	to := map[string]bool{}
	for _, m := range p.Moved {
		at := d.blocks[m.Pos]
		switch {
		case m.From == "" || m.To == "": // said already
		case m.From == m.To:
			d.add(at, "", "machine %q moved to its own name", m.From)
		case declared[m.From] != nil:
			d.add(at, "Take its block out, or the moved block.", "machine %q has moved to %q and is still declared", m.From, m.To)
		case declared[m.To] == nil:
			d.add(at, "Declare it, or take the moved block out.", "machine %q has moved to %q, which is not declared", m.From, m.To)
		case from[m.From] || to[m.To]:
			d.add(at, "Leave one of the moved blocks.", "machine %q or %q has moved twice", m.From, m.To)
		}
		from[m.From], to[m.To] = true, true
	}
}
