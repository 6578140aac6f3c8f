package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"
)

const (
	minSize = 1 * size.GiB
	maxSize = 1 << 60 // bytes; what an ext4 file system can hold at most
)

// value evaluates an expression; ok is false for null and after a problem.
func (d *decoder) value(e hclsyntax.Expression) (v cty.Value, ok bool) {
	v, diags := e.Value(nil)
	for _, diag := range diags {
		if word := bareWord(diag.Expression); word != "" {
			d.add(*diag.Subject, `Text is written in quotes: "`+word+`".`, "%s is not a value", word)
		} else {
			d.addHCL(hcl.Diagnostics{diag})
		}
	}
	return v, !diags.HasErrors() && !v.IsNull() && v.IsWhollyKnown()
}

// bareWord is the word of an expression that is nothing else, else "".
func bareWord(e hcl.Expression) string {
	t, ok := e.(*hclsyntax.ScopeTraversalExpr)
	if !ok || len(t.Traversal) != 1 {
		return ""
	}
	return t.Traversal.RootName()
}

// text reads a string. Numbers are not taken for one.
func (d *decoder) text(name string, e hclsyntax.Expression) (string, bool) {
	v, ok := d.value(e)
	if !ok {
		return "", false
	}
	return d.textValue(name, v, e.Range())
}

// textValue is text for a value that is already known.
func (d *decoder) textValue(name string, v cty.Value, at hcl.Range) (string, bool) {
	switch {
	case v.Type() != cty.String || v.IsNull():
		d.add(at, "", "%s must be text in quotes, not %s", name, kind(v))
		return "", false
	case v.AsString() == "":
		d.add(at, "", "%s must not be empty", name)
		return "", false
	}
	return v.AsString(), true
}

// oneOf reads a string out of a few.
func (d *decoder) oneOf(name string, options []string, e hclsyntax.Expression) string {
	s, ok := d.text(name, e)
	if !ok || slices.Contains(options, s) {
		return s
	}
	d.add(e.Range(), "", "%s must be %s, not %q.%s", name, quotedOr(options), s, didYouMean(s, options))
	return ""
}

// platform reads the platform of an image.
func (d *decoder) platform(e hclsyntax.Expression) platform.Platform {
	p, _ := platform.Parse(d.oneOf("platform", platforms, e)) // what it refuses oneOf has reported
	return p
}

// boolean reads true or false.
func (d *decoder) boolean(name string, e hclsyntax.Expression) bool {
	v, ok := d.value(e)
	if !ok {
		return false
	}
	if b, err := convert.Convert(v, cty.Bool); err == nil {
		return b.True()
	}
	d.add(e.Range(), "", "%s must be true or false, not %s", name, kind(v))
	return false
}

// cpus reads a count of processors.
func (d *decoder) cpus(e hclsyntax.Expression) int {
	v, ok := d.value(e)
	if !ok {
		return 0
	}
	var n int32 // far above any machine, and the same on every host
	number, err := convert.Convert(v, cty.Number)
	if err == nil {
		err = gocty.FromCtyValue(number, &n)
	}
	if err != nil || n < 1 {
		d.add(e.Range(), "Leave the line out to get half of the host's processors.",
			"cpus must be a whole number greater than 0, not %s", kind(v))
		return 0
	}
	return int(n)
}

// size reads an amount of bytes such as "8G".
func (d *decoder) size(name, example string, e hclsyntax.Expression) int64 {
	v, ok := d.value(e)
	if !ok {
		return 0
	}
	allowed := `Write a whole number and a unit (M, G or T; always binary): ` + name + ` = "` + example + `".`
	if v.Type() == cty.Number {
		d.add(e.Range(), allowed, "%s needs a unit", name)
		return 0
	}
	s, ok := d.text(name, e)
	if !ok {
		return 0
	}
	n, err := size.Parse(s)
	switch {
	case errors.Is(err, size.ErrTooLarge) || n > maxSize:
		d.add(e.Range(), allowed, "%s %q is more than any machine can have", name, s)
	case err != nil:
		d.add(e.Range(), allowed, "%s cannot be %q", name, s)
	case n < minSize:
		d.add(e.Range(), allowed, "%s must be at least 1G, not %q", name, s)
	case n%size.MiB != 0:
		d.add(e.Range(), allowed, "%s must be whole MiB, and %q is not", name, s)
	default:
		return n
	}
	return 0
}

// kind says what a value is, for messages: the value itself where it is short.
func kind(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String && len(v.AsString()) < 40:
		return `"` + printable(v.AsString()) + `"`
	case t == cty.Number:
		return v.AsBigFloat().Text('g', 10)
	case t == cty.Bool && v.True():
		return "true"
	case t == cty.Bool:
		return "false"
	case isList(v):
		return "a list"
	case t.IsObjectType() || t.IsMapType():
		return "an object"
	default:
		return "this " + t.FriendlyName()
	}
}

// isList tells whether a value is a sequence, however it was written.
func isList(v cty.Value) bool {
	t := v.Type()
	return t.IsTupleType() || t.IsListType() || t.IsSetType()
}

// quotedOr is a sentence's list: "a", "b" or "c".
func quotedOr(options []string) string {
	last := len(options) - 1
	return `"` + strings.Join(options[:last], `", "`) + `" or "` + options[last] + `"`
}
