package config

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// form describes the values that an argument accepts, for messages.
type form struct {
	name    string
	want    string // completes "NAME must be"
	example string // a value as the file writes it; empty if want lists all values
}

// requirement returns sentences that say what the argument accepts.
func (f form) requirement() string { return f.name + " must be " + f.want + "." + f.forExample() }

// forExample returns a sentence with a leading space, or "" if there is no example.
func (f form) forExample() string {
	if f.example == "" {
		return ""
	}
	return " For example: " + f.name + " = " + f.example + "."
}

// takesQuotes reports whether a word that lacks quotes may be a mistyped value.
func (f form) takesQuotes() bool { return strings.Contains(f.want+f.example, `"`) }

// argument is an argument as the file sets it.
type argument struct {
	form
	expr hclsyntax.Expression
}

// attribute is one attribute of a block that declares a T. The tables below are
// the whole language: the decoder and its messages use them.
type attribute[T any] struct {
	form
	read func(d *decoder, to *T, a argument)
}

var projectAttributes = []attribute[Project]{
	{form{"project", "a string", `"acme"`}, func(d *decoder, p *Project, a argument) { p.Name = d.projectName(a) }},
}

var machineAttributes = []attribute[Machine]{
	{
		form{"image", "a string", `"docker.io/library/debian:bookworm"`},
		func(d *decoder, m *Machine, a argument) { m.Image = d.image(a) },
	},
	{form{name: "platform", want: quotedOr(platforms)}, func(d *decoder, m *Machine, a argument) { m.Platform = d.platform(a) }},
	{form{"cpus", "a whole number greater than 0", "4"}, func(d *decoder, m *Machine, a argument) { m.CPUs = d.cpus(a) }},
	{form{"memory", sizesAllowed, `"8G"`}, func(d *decoder, m *Machine, a argument) { m.Memory = d.size(a) }},
	{form{"disk", sizesAllowed, `"64G"`}, func(d *decoder, m *Machine, a argument) { m.Disk = d.size(a) }},
	{form{"kernel", "a string", `"./vmlinuz"`}, func(d *decoder, m *Machine, a argument) { m.Kernel = d.kernel(a) }},
	{form{name: "virtualization", want: "true or false"}, func(d *decoder, m *Machine, a argument) { m.Virtualization = d.boolean(a) }},
	{form{"user", "a string", `"ada"`}, func(d *decoder, m *Machine, a argument) { m.User = d.user(a) }},
	{form{name: "home_mount", want: quotedOr(homeMounts)}, func(d *decoder, m *Machine, a argument) { m.HomeMount = d.oneOf(homeMounts, a) }},
	{form{name: "ssh_agent", want: "true or false"}, func(d *decoder, m *Machine, a argument) { m.NoSSHAgent = d.refused(a) }},
	{form{"services", "a list of strings", `["postgresql"]`}, func(d *decoder, m *Machine, a argument) { m.Services = d.services(a) }},
	{
		form{name: "state", want: quotedOr(machineStates)},
		func(d *decoder, m *Machine, a argument) { m.Stopped = d.oneOf(machineStates, a) == stateStopped },
	},
	{form{"depends_on", "a list of strings", `["db"]`}, func(d *decoder, m *Machine, a argument) { m.DependsOn = d.dependsOn(m.Name, a) }},
}

var lifecycleAttributes = []attribute[Lifecycle]{
	{
		form{name: "prevent_destroy", want: "true or false"},
		func(d *decoder, l *Lifecycle, a argument) { l.PreventDestroy = d.boolean(a) },
	},
	{
		form{name: "on_image_change", want: quotedOr(imageChanges)},
		func(d *decoder, l *Lifecycle, a argument) { l.KeepImage = d.oneOf(imageChanges, a) == imageKept },
	},
}

var movedAttributes = []attribute[Move]{
	{form{"from", "a string", `"old-name"`}, func(d *decoder, m *Move, a argument) { m.From = d.reference(a) }},
	{form{"to", "a string", `"new-name"`}, func(d *decoder, m *Move, a argument) { m.To = d.reference(a) }},
}

var buildAttributes = []attribute[Build]{
	{form{"context", "a string", `"."`}, func(d *decoder, b *Build, a argument) {
		if path, ok := d.text(a); ok {
			b.Context = d.path(path, a.expr.Range())
		}
	}},
	// [decoder.build] makes the path absolute when the context is known.
	{form{"dockerfile", "a string", `"Dockerfile"`}, func(d *decoder, b *Build, a argument) { b.Dockerfile, _ = d.text(a) }},
	{form{"target", "a string", `"tools"`}, func(d *decoder, b *Build, a argument) { b.Target, _ = d.text(a) }},
	{form{"args", "an object", `{ VERSION = "1.2" }`}, func(d *decoder, b *Build, a argument) { b.Args = d.args(a) }},
}

// Types of the blocks in a file and in a machine.
var (
	projectBlocks = []string{machineBlock, movedBlock}
	machineBlocks = []string{buildBlock, lifecycleBlock}
)

// Values of state and on_image_change that the decoder compares with.
const (
	stateStopped = "stopped"
	imageKept    = "keep"
)

var (
	machineStates = []string{"running", stateStopped}
	imageChanges  = []string{"replace", imageKept}
)

// platforms are the platforms of images that a machine can be made from.
var platforms = []string{"linux/amd64", "linux/arm64"}

// homeMounts are the ways to mount the home directory in a machine.
var homeMounts = []string{"rw", "ro", "none"}

// names returns the names of the attributes of a table, in its order.
func names[T any](table []attribute[T]) []string {
	list := make([]string, len(table))
	for i, a := range table {
		list[i] = a.name
	}
	return list
}

// decodeBody reads a block's attributes into to. The string what names the block at
// the beginning of a message, such as `Machine "dev"`.
func decodeBody[T any](d *decoder, what string, table []attribute[T], body *hclsyntax.Body, to *T) {
	known := names(table)
	for name, a := range body.Attributes {
		i := slices.Index(known, name)
		if i < 0 {
			d.unknownAttribute(what, known, a)
			continue
		}
		table[i].read(d, to, argument{table[i].form, a.Expr})
	}
}

// blockExamples show how to write each type of block.
var blockExamples = map[string]string{
	machineBlock:   `machine "NAME" { … }`,
	movedBlock:     `moved { … }`,
	buildBlock:     `build { context = "." }`,
	lifecycleBlock: `lifecycle { prevent_destroy = true }`,
}

// unknownAttribute reports an attribute that a block does not support.
func (d *decoder) unknownAttribute(what string, known []string, a *hclsyntax.Attribute) {
	if example, block := blockExamples[a.Name]; block {
		d.add(a.NameRange, "Unsupported argument", "%q is a block, not an argument. Write %s.", a.Name, example)
		return
	}
	d.add(a.NameRange, "Unsupported argument", "%s has no argument %q.%s\nSupported arguments: %s.",
		what, a.Name, didYouMean(a.Name, known), strings.Join(known, ", "))
}

// unknownBlock reports a block that another block does not support.
func (d *decoder) unknownBlock(what string, attributes, blocks []string, b *hclsyntax.Block) {
	switch {
	case slices.Contains(attributes, b.Type):
		d.add(b.TypeRange, "Unsupported block type", "%[1]q is an argument, not a block. Write %[1]s = VALUE.", b.Type)
	case len(blocks) == 0:
		d.add(b.TypeRange, "Unsupported block type", "%s cannot contain a block %q.\nSupported arguments: %s.",
			what, b.Type, strings.Join(attributes, ", "))
	default:
		d.add(b.TypeRange, "Unsupported block type", "%s has no block %q.%s\nSupported blocks: %s.",
			what, b.Type, didYouMean(b.Type, blocks), strings.Join(blocks, ", "))
	}
}
