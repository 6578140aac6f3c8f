package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// ref is a use of a machine's name in depends_on.
type ref struct {
	name string
	at   hcl.Range
}

// references checks the names that depends_on and moved blocks use. All machines must be known.
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
			d.add(r.at, "Reference to undeclared machine", "depends_on names machine %q, which this file does not declare.%s",
				r.name, didYouMean(r.name, known))
		}
	}
	if len(d.problems.list) == 0 { // with other problems, a cycle may be a typing mistake
		d.refuseCycle(p, declared)
	}
	d.checkMoves(p, declared)
}

// refuseCycle reports the first cycle of dependencies.
func (d *decoder) refuseCycle(p *Project, declared map[string]*Machine) {
	done := map[string]bool{}
	var path []string
	var visit func(m *Machine) bool
	visit = func(m *Machine) bool {
		if i := slices.Index(path, m.Name); i >= 0 {
			d.add(d.blocks[m.Pos], "Dependency cycle",
				"Machines depend on each other: %s. Remove one of these depends_on entries.", strings.Join(append(path[i:], m.Name), " -> "))
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

// checkMoves reports moved blocks that contradict the machines or each other.
func (d *decoder) checkMoves(p *Project, declared map[string]*Machine) {
	from := map[string]bool{}
	to := map[string]bool{}
	for _, m := range p.Moved {
		at := d.blocks[m.Pos]
		switch {
		case m.From == "" || m.To == "": // already reported
		case m.From == m.To:
			d.add(at, "Redundant move", "from and to both name machine %q. Remove this moved block.", m.From)
		case declared[m.From] != nil:
			d.add(at, "Moved machine is still declared", "Machine %q moves to %q, but is still declared at %s. Remove that block or this moved block.",
				m.From, m.To, declared[m.From].Pos)
		case declared[m.To] == nil:
			d.add(at, "Move to undeclared machine", "Machine %q moves to %q, which this file does not declare. Declare machine %[2]q or remove this moved block.",
				m.From, m.To)
		case from[m.From]:
			d.add(at, "Ambiguous move", "Another moved block already moves machine %q. Remove one of them.", m.From)
		case to[m.To]:
			d.add(at, "Ambiguous move", "Another moved block already moves a machine to %q. Remove one of them.", m.To)
		}
		from[m.From], to[m.To] = true, true
	}
}
