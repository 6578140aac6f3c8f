package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// attribute is one attribute of a block that declares a T. The tables below are
// the whole language: the decoder and its messages follow from them.
type attribute[T any] struct {
	name string
	read func(d *decoder, to *T, e hclsyntax.Expression)
}

var projectAttributes = []attribute[Project]{
	{name: "project", read: func(d *decoder, p *Project, e hclsyntax.Expression) { p.Name = d.projectName(e) }},
}

var machineAttributes = []attribute[Machine]{
	{name: "image", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.Image = d.image(e) }},
	{name: "cpus", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.CPUs = d.cpus(e) }},
	{name: "memory", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.Memory = d.size("memory", "8G", e) }},
	{name: "disk", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.Disk = d.size("disk", "64G", e) }},
	{name: "kernel", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.Kernel = d.kernel(e) }},
	{name: "virtualization", read: func(d *decoder, m *Machine, e hclsyntax.Expression) {
		m.Virtualization = d.boolean("virtualization", e)
	}},
	{name: "home_mount", read: func(d *decoder, m *Machine, e hclsyntax.Expression) {
		m.HomeMount = d.oneOf("home_mount", homeMounts, e)
	}},
	{name: "services", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.Services = d.services(e) }},
}

var buildAttributes = []attribute[Build]{
	{name: "context", read: func(d *decoder, b *Build, e hclsyntax.Expression) {
		if path, ok := d.text("context", e); ok {
			b.Context = d.path(path, e.Range())
		}
	}},
	// It is completed when the context is known: see [decoder.build].
	{name: "dockerfile", read: func(d *decoder, b *Build, e hclsyntax.Expression) { b.Dockerfile, _ = d.text("dockerfile", e) }},
	{name: "target", read: func(d *decoder, b *Build, e hclsyntax.Expression) { b.Target, _ = d.text("target", e) }},
	{name: "args", read: func(d *decoder, b *Build, e hclsyntax.Expression) { b.Args = d.args(e) }},
}

// machineBlocks are the blocks in a machine.
var machineBlocks = []string{buildBlock}

// homeMounts are the ways the home folder can appear in a machine.
var homeMounts = []string{"rw", "ro", "none"}

// names lists the attributes of a table, in its order.
func names[T any](table []attribute[T]) []string {
	list := make([]string, len(table))
	for i, a := range table {
		list[i] = a.name
	}
	return list
}

// decodeBody reads a block's attributes into to. What names the block in
// messages: `machine "dev"`.
func decodeBody[T any](d *decoder, what string, table []attribute[T], body *hclsyntax.Body, to *T) {
	known := names(table)
	for name, a := range body.Attributes {
		i := slices.Index(known, name)
		if i < 0 {
			d.unknownAttribute(what, known, a)
			continue
		}
		table[i].read(d, to, a.Expr)
	}
}

// unknownAttribute reports an attribute that a block does not have.
func (d *decoder) unknownAttribute(what string, known []string, a *hclsyntax.Attribute) {
	switch a.Name {
	case machineBlock:
		d.add(a.NameRange, `Write machine "NAME" { … }.`, "machine is a block, not an attribute")
		return
	case buildBlock:
		d.add(a.NameRange, `Write build { context = "." }.`, "build is a block, not an attribute")
		return
	}
	d.add(a.NameRange, "Attributes here: "+strings.Join(known, ", ")+".",
		"%s has no attribute %q.%s", what, a.Name, didYouMean(a.Name, known))
}

// unknownBlock reports a block that another block does not have.
func (d *decoder) unknownBlock(what string, attributes, blocks []string, b *hclsyntax.Block) {
	switch {
	case slices.Contains(attributes, b.Type):
		d.add(b.TypeRange, "Write "+b.Type+" = …", "%s is an attribute, not a block", b.Type)
	case len(blocks) == 0:
		d.add(b.TypeRange, "", "%s has no blocks, and no %q", what, b.Type)
	default:
		d.add(b.TypeRange, "Blocks here: "+strings.Join(blocks, ", ")+".",
			"%s has no block %q.%s", what, b.Type, didYouMean(b.Type, blocks))
	}
}
