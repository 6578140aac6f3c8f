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
	movedBlock     = "moved"     // renames a machine
	buildBlock     = "build"     // in a machine: how to build its image
	lifecycleBlock = "lifecycle" // in a machine: how to protect its disk
)

// place is the location of a project file. Relative paths and defaults depend on it.
type place struct {
	shown string // the file's name in messages
	dir   string // the file's absolute directory
	base  string // the file's name in dir
	home  string // the user's home directory; empty when unknown
}

// decoder reads one project file.
type decoder struct {
	problems
	dir, home string                 // as in place
	refs      []ref                  // checked when all machines are known
	blocks    map[Position]hcl.Range // where blocks begin
}

// parse is [Load] without a file system.
func parse(src []byte, at place) (*Project, error) {
	d := &decoder{problems: problems{shown: at.shown, src: src}, dir: at.dir, home: at.home, blocks: map[Position]hcl.Range{}}
	text, ok := d.encoding()
	if !ok {
		return nil, d.err()
	}
	d.src = text
	file, diags := hclsyntax.ParseConfig(text, at.shown, hcl.InitialPos)
	if diags.HasErrors() {
		d.syntax(diags)
		return nil, d.err() // decoding a body with broken syntax only adds misleading problems
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
	const what = "A project file"
	decodeBody(d, what, projectAttributes, body, p)
	first := map[string]int{}
	for _, b := range body.Blocks {
		switch b.Type {
		case machineBlock:
			m := d.machine(b)
			if line, again := first[m.Name]; again {
				d.add(b.LabelRanges[0], "Duplicate machine",
					"Machine %q is already declared at %s. Each machine needs a unique name.", m.Name, Position{File: d.shown, Line: line})
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
		d.add(b.DefRange(), "Invalid machine block", `A machine block has one name, not %d. Write machine "NAME" { … }.`, len(b.Labels))
	}
	what := "This machine"
	if m.Name != "" {
		what = fmt.Sprintf("Machine %q", m.Name)
	}
	decodeBody(d, what, machineAttributes, b.Body, &m)
	first := map[string]int{}
	for _, inner := range b.Body.Blocks {
		if line, again := first[inner.Type]; again {
			d.add(inner.TypeRange, "Duplicate "+inner.Type+" block", "%s already has a %s block, at %s. Remove one of them.",
				what, inner.Type, Position{File: d.shown, Line: line})
			continue
		}
		first[inner.Type] = inner.TypeRange.Start.Line
		switch inner.Type {
		case buildBlock:
			m.Build = d.build(inner)
		case lifecycleBlock:
			const block = "A lifecycle block"
			d.refuseLabels(inner)
			decodeBody(d, block, lifecycleAttributes, inner.Body, &m.Lifecycle)
			d.refuseBlocks(block, names(lifecycleAttributes), inner.Body)
		default:
			d.unknownBlock(what, names(machineAttributes), machineBlocks, inner)
		}
	}
	image := b.Body.Attributes["image"]
	switch {
	case m.Build != nil && image != nil:
		d.add(image.NameRange, "Conflicting image and build", "%s has both an image and a build block. Remove one of them.", what)
	case m.Build == nil && image == nil:
		d.add(b.TypeRange, "Missing required argument",
			`%s has no image. Write image = "docker.io/library/debian:bookworm" or build { context = "." }.`, what)
	}
	return m
}

// build reads a build block. As in Compose files, the Dockerfile is relative to the context.
func (d *decoder) build(b *hclsyntax.Block) *Build {
	const what = "A build block"
	d.refuseLabels(b)
	build := &Build{Context: d.dir}
	decodeBody(d, what, buildAttributes, b.Body, build)
	if build.Dockerfile != "" {
		build.Dockerfile = d.pathIn(build.Context, build.Dockerfile, b.Body.Attributes["dockerfile"].Expr.Range())
	}
	d.refuseBlocks(what, names(buildAttributes), b.Body)
	return build
}

// moved reads a moved block.
func (d *decoder) moved(b *hclsyntax.Block) Move {
	const what = "A moved block"
	d.refuseLabels(b)
	m := Move{Pos: d.position(b)}
	decodeBody(d, what, movedAttributes, b.Body, &m)
	d.refuseBlocks(what, names(movedAttributes), b.Body)
	for _, a := range movedAttributes {
		if b.Body.Attributes[a.name] == nil {
			d.add(b.TypeRange, "Missing required argument", "%s needs the argument %q.%s", what, a.name, a.forExample())
		}
	}
	return m
}

// refuseLabels reports a block that has a label.
func (d *decoder) refuseLabels(b *hclsyntax.Block) {
	if len(b.Labels) > 0 {
		d.add(b.LabelRanges[0], "Unexpected name", "A %[1]s block has no name. Write %[1]s { … }.", b.Type)
	}
}

// refuseBlocks reports the blocks in a block that supports none.
func (d *decoder) refuseBlocks(what string, attributes []string, body *hclsyntax.Body) {
	for _, inner := range body.Blocks {
		d.unknownBlock(what, attributes, nil, inner)
	}
}

// position returns where a block begins, and records it in d.blocks.
func (d *decoder) position(b *hclsyntax.Block) Position {
	at := Position{File: d.shown, Line: b.TypeRange.Start.Line}
	d.blocks[at] = b.TypeRange
	return at
}

// machineName checks a machine's label. It returns "" after a problem.
func (d *decoder) machineName(name string, at hcl.Range) string {
	if isName(name) {
		return name
	}
	d.invalidName("machine", name, at)
	return ""
}

// projectName reads the project's name.
func (d *decoder) projectName(a argument) string {
	name, ok := d.text(a)
	if !ok || isName(name) {
		return name
	}
	d.invalidName("project", name, a.expr.Range())
	return ""
}

// invalidName reports a name that isName refuses, and suggests a valid one made from it.
func (d *decoder) invalidName(what, name string, at hcl.Range) {
	suggestion := ""
	if valid := toName(name); valid != "" {
		suggestion = fmt.Sprintf(" Did you mean %q?", valid)
	}
	d.add(at, "Invalid "+what+" name", "%q is not a valid %s name.%s\n%s", name, what, suggestion, namesAllowed)
}
