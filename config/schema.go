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
	{name: "platform", read: func(d *decoder, m *Machine, e hclsyntax.Expression) {
		m.Platform = d.platform(e)
	}},
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
	{name: "state", read: func(d *decoder, m *Machine, e hclsyntax.Expression) {
		m.Stopped = d.oneOf("state", machineStates, e) == stateStopped
	}},
	{name: "depends_on", read: func(d *decoder, m *Machine, e hclsyntax.Expression) { m.DependsOn = d.dependsOn(m.Name, e) }},
}

var lifecycleAttributes = []attribute[Lifecycle]{
	{name: "prevent_destroy", read: func(d *decoder, l *Lifecycle, e hclsyntax.Expression) {
		l.PreventDestroy = d.boolean("prevent_destroy", e)
	}},
	{name: "on_image_change", read: func(d *decoder, l *Lifecycle, e hclsyntax.Expression) {
		l.KeepImage = d.oneOf("on_image_change", imageChanges, e) == imageKept
	}},
}

var movedAttributes = []attribute[Moved]{
	{name: "from", read: func(d *decoder, m *Moved, e hclsyntax.Expression) { m.From = d.reference("from", e) }},
	{name: "to", read: func(d *decoder, m *Moved, e hclsyntax.Expression) { m.To = d.reference("to", e) }},
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

// Blocks of a file and of a machine.
var (
	projectBlocks = []string{machineBlock, movedBlock}
	machineBlocks = []string{buildBlock, lifecycleBlock}
)

// What a machine can be wanted to do, and what another image can mean for it.
const (
	stateStopped = "stopped"
	imageKept    = "keep"
)

var (
	machineStates = []string{"running", stateStopped}
	imageChanges  = []string{"replace", imageKept}
)

// platforms are those of images that machines can be made of.
var platforms = []string{"linux/amd64", "linux/arm64"}

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

// blockExamples say how blocks are written.
var blockExamples = map[string]string{
	machineBlock:   `machine "NAME" { … }`,
	movedBlock:     `moved { … }`,
	buildBlock:     `build { context = "." }`,
	lifecycleBlock: `lifecycle { prevent_destroy = true }`,
}

// unknownAttribute reports an attribute that a block does not have.
func (d *decoder) unknownAttribute(what string, known []string, a *hclsyntax.Attribute) {
	if example, block := blockExamples[a.Name]; block {
		d.add(a.NameRange, "Write "+example+".", "%s is a block, not an attribute", a.Name)
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
