package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Types of blocks.
const (
	machineBlock   = "machine"   // declares a machine
	movedBlock     = "moved"     // tells of another name
	buildBlock     = "build"     // in a machine: how its image is built
	lifecycleBlock = "lifecycle" // in a machine: what must not happen to its disk
)

// place is where a project file lies: what relative paths and defaults need.
type place struct {
	shown string // the file's name in messages
	dir   string // its absolute folder
	base  string // its name in that folder
	home  string // the user's home folder; empty when unknown
}

// decoder reads one project file.
type decoder struct {
	problems
	dir, home string                 // as in place
	refs      []ref                  // to be checked when all machines are known
	blocks    map[Position]hcl.Range // where blocks begin
}

// parse is Load without a file system.
func parse(src []byte, at place) (*Project, error) {
	d := &decoder{problems: problems{shown: at.shown, src: src}, dir: at.dir, home: at.home, blocks: map[Position]hcl.Range{}}
	file, diags := hclsyntax.ParseConfig(src, at.shown, hcl.InitialPos)
	if diags.HasErrors() {
		d.addHCL(diags)
		return nil, d.err() // a body with broken syntax only gives misleading problems
	}
	p := &Project{Dir: at.dir, File: filepath.Join(at.dir, at.base)}
	d.project(p, file.Body.(*hclsyntax.Body)) // the type that ParseConfig documents
	if err := d.err(); err != nil {
		return nil, err
	}
	p.Name = cmp.Or(p.Name, toName(filepath.Base(at.dir)), "project")
	slices.SortFunc(p.Machines, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

// project reads the top level of a file.
func (d *decoder) project(p *Project, body *hclsyntax.Body) {
	const what = "a project file"
	decodeBody(d, what, projectAttributes, body, p)
	first := map[string]int{}
	for _, b := range body.Blocks {
		switch b.Type {
		case machineBlock:
			m := d.machine(b)
			if line, again := first[m.Name]; again {
				d.add(b.LabelRanges[0], "Every machine needs a name of its own.",
					"machine %q is declared twice, first at %s", m.Name, Position{File: d.shown, Line: line})
			} else if m.Name != "" {
				first[m.Name] = m.Pos.Line
			}
			p.Machines = append(p.Machines, m)
		case movedBlock:
			p.Moved = append(p.Moved, d.moved(b))
		default:
			d.unknownBlock(what, names(projectAttributes), projectBlocks, b)
		}
	}
	d.references(p)
}

// machine reads one machine block.
func (d *decoder) machine(b *hclsyntax.Block) Machine {
	m := Machine{Pos: d.position(b)}
	if len(b.Labels) == 1 {
		m.Name = d.machineName(b.Labels[0], b.LabelRanges[0])
	} else {
		d.add(b.DefRange(), `Write machine "NAME" { … }.`, "a machine has one name, not %d", len(b.Labels))
	}
	what := "a machine"
	if m.Name != "" {
		what = fmt.Sprintf("machine %q", m.Name)
	}
	decodeBody(d, what, machineAttributes, b.Body, &m)
	seen := map[string]bool{}
	for _, inner := range b.Body.Blocks {
		if seen[inner.Type] {
			d.add(inner.TypeRange, "", "%s has two %s blocks", what, inner.Type)
			continue
		}
		seen[inner.Type] = true
		switch inner.Type {
		case buildBlock:
			m.Build = d.build(inner)
		case lifecycleBlock:
			d.nameless(inner)
			decodeBody(d, "a lifecycle block", lifecycleAttributes, inner.Body, &m.Lifecycle)
			d.noBlocks("a lifecycle block", names(lifecycleAttributes), inner.Body)
		default:
			d.unknownBlock(what, names(machineAttributes), machineBlocks, inner)
		}
	}
	image := b.Body.Attributes["image"]
	switch {
	case m.Build != nil && image != nil:
		d.add(image.NameRange, "Take one of them out.", "%s has an image and a build block", what)
	case m.Build == nil && image == nil:
		d.add(b.TypeRange, `Say what the machine is made from: image = "docker.io/library/debian:bookworm", or build { context = "." }`,
			"%s has no image", what)
	}
	return m
}

// build reads how an image is built. Its Dockerfile is relative to the context, as
// in compose files.
func (d *decoder) build(b *hclsyntax.Block) *Build {
	const what = "a build block"
	d.nameless(b)
	build := &Build{Context: d.dir}
	decodeBody(d, what, buildAttributes, b.Body, build)
	if build.Dockerfile != "" {
		build.Dockerfile = d.pathIn(build.Context, build.Dockerfile, b.Body.Attributes["dockerfile"].Expr.Range())
	}
	d.noBlocks(what, names(buildAttributes), b.Body)
	return build
}

// moved reads how a machine was called before.
func (d *decoder) moved(b *hclsyntax.Block) Moved {
	const what = "a moved block"
	d.nameless(b)
	m := Moved{Pos: d.position(b)}
	decodeBody(d, what, movedAttributes, b.Body, &m)
	d.noBlocks(what, names(movedAttributes), b.Body)
	for _, a := range movedAttributes {
		if b.Body.Attributes[a.name] == nil {
			d.add(b.TypeRange, `Write moved { from = "old" … to = "new" }, each on a line of its own.`, "%s has no %s", what, a.name)
		}
	}
	return m
}

// nameless refuses labels.
func (d *decoder) nameless(b *hclsyntax.Block) {
	if len(b.Labels) > 0 {
		d.add(b.LabelRanges[0], "Write "+b.Type+" { … }.", "a %s block has no name", b.Type)
	}
}

// noBlocks refuses blocks in a block that has none.
func (d *decoder) noBlocks(what string, attributes []string, body *hclsyntax.Body) {
	for _, inner := range body.Blocks {
		d.unknownBlock(what, attributes, nil, inner)
	}
}

// position is where a block begins.
func (d *decoder) position(b *hclsyntax.Block) Position {
	at := Position{File: d.shown, Line: b.TypeRange.Start.Line}
	d.blocks[at] = b.TypeRange
	return at
}

// machineName checks a machine's label and returns it, or "" after a problem.
func (d *decoder) machineName(name string, at hcl.Range) string {
	if isName(name) {
		return name
	}
	d.add(at, namesAllowed, "%q cannot name a machine.%s", name, didYouMeanName(name))
	return ""
}

// projectName reads the project's name.
func (d *decoder) projectName(e hclsyntax.Expression) string {
	name, ok := d.text("project", e)
	if !ok || isName(name) {
		return name
	}
	d.add(e.Range(), namesAllowed, "%q cannot name a project.%s", name, didYouMeanName(name))
	return ""
}

// didYouMeanName proposes a valid name that is made from an invalid one.
func didYouMeanName(name string) string {
	if valid := toName(name); valid != "" {
		return fmt.Sprintf(" Did you mean %q?", valid)
	}
	return ""
}
