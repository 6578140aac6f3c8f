package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/printable"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/username"
)

const (
	minSize = 1 * size.GiB
	maxSize = 1 << 60 // bytes: the largest ext4 file system
)

// sizesAllowed completes "memory must be".
const sizesAllowed = "a whole number and a binary unit (M, G or T) in quotes"

// value evaluates an expression. The result ok is false for null and after a problem.
func (d *decoder) value(a argument) (v cty.Value, ok bool) {
	v, diags := a.expr.Value(nil)
	for _, diag := range diags {
		switch e := diag.Expression.(type) {
		case *hclsyntax.ScopeTraversalExpr:
			if !isLocal(diag.EvalContext, e.Traversal.RootName()) {
				d.refuseVariable(a, e)
				continue
			}
		case *hclsyntax.FunctionCallExpr:
			d.add(*diag.Subject, "Function calls not allowed", "%s calls the function %s, but a project file has no functions.\n%s",
				a.name, e.Name, a.requirement())
			continue
		}
		d.addHCL(hcl.Diagnostics{diag})
	}
	return v, !diags.HasErrors() && !v.IsNull() && v.IsWhollyKnown()
}

// isLocal reports whether a for expression around the reference declares the variable.
func isLocal(ctx *hcl.EvalContext, variable string) bool {
	for ; ctx != nil; ctx = ctx.Parent() {
		if _, ok := ctx.Variables[variable]; ok {
			return true
		}
	}
	return false
}

// refuseVariable reports a reference to a variable. It may be a value that lacks quotes,
// or a machine's name as Terraform would write it: machine.db.
func (d *decoder) refuseVariable(a argument, e *hclsyntax.ScopeTraversalExpr) {
	word := ""
	if len(e.Traversal) == 1 {
		word = e.Traversal.RootName()
	} else if attr, ok := e.Traversal[1].(hcl.TraverseAttr); ok && len(e.Traversal) == 2 && e.Traversal.RootName() == machineBlock {
		word = attr.Name
	}
	suggestion := ""
	if word != "" && a.takesQuotes() {
		suggestion = fmt.Sprintf(" Strings need double quotes: %q.", word)
	}
	text := masked(oneLine(string(e.Range().SliceBytes(d.src))))
	d.add(e.Range(), "Variables not allowed", "%s refers to the variable %s, but a project file has no variables.%s\n%s",
		a.name, text, suggestion, a.requirement())
}

// invalidValue reports a value of the wrong type.
func (d *decoder) invalidValue(a argument, v cty.Value) { d.wrongType(a.form, v, a.expr.Range()) }

func (d *decoder) wrongType(f form, v cty.Value, at hcl.Range) {
	d.add(at, "Invalid value", "%s must be %s, not %s.%s", f.name, f.want, kind(v), f.forExample())
}

// text reads a string. It does not convert numbers.
func (d *decoder) text(a argument) (string, bool) {
	v, ok := d.value(a)
	if !ok {
		return "", false
	}
	return d.textValue(a.form, v, a.expr.Range())
}

// textValue is text for a value that is already known.
func (d *decoder) textValue(f form, v cty.Value, at hcl.Range) (string, bool) {
	switch {
	case v.Type() != cty.String || v.IsNull():
		d.wrongType(f, v, at)
		return "", false
	case v.AsString() == "":
		d.add(at, "Invalid value", "%s must not be empty.%s", f.name, f.forExample())
		return "", false
	}
	if i := strings.IndexFunc(v.AsString(), printable.Hidden); i >= 0 {
		r, _ := utf8.DecodeRuneInString(v.AsString()[i:])
		d.add(at, "Invalid value", "%s contains the invisible character %U, which would make plans unreadable. Remove it.", f.name, r)
		return "", false
	}
	if r, ok := atTheEnds(v.AsString()); ok {
		d.add(at, "Invalid value", "%s begins or ends with the %s. Remove it.", f.name, characterName(r))
		return "", false
	}
	return v.AsString(), true
}

// oneOf reads a string that must be one of the options.
func (d *decoder) oneOf(options []string, a argument) string {
	s, ok := d.text(a)
	if !ok || slices.Contains(options, s) {
		return s
	}
	d.notOneOf(options, a, s)
	return ""
}

// notOneOf reports a string that is none of the options.
func (d *decoder) notOneOf(options []string, a argument, s string) {
	d.add(a.expr.Range(), "Invalid value", "%s must be %s, not %q.%s", a.name, a.want, s, didYouMean(s, options))
}

// platform reads the platform of an image, in any spelling.
func (d *decoder) platform(a argument) platform.Platform {
	s, ok := d.text(a)
	if !ok {
		return platform.Platform{}
	}
	p, err := platform.Parse(s)
	if err != nil || !slices.Contains(platforms, p.String()) {
		d.notOneOf(platforms, a, s)
		return platform.Platform{}
	}
	return p
}

// user reads the name of a machine's user. It returns "" after a problem.
func (d *decoder) user(a argument) string {
	name, ok := d.text(a)
	if !ok || username.Valid(name) {
		return name
	}
	suggestion := ""
	if valid := username.Suggest(name); valid != "" {
		suggestion = fmt.Sprintf(" Did you mean %q?", valid)
	}
	d.add(a.expr.Range(), "Invalid user name", "%q is not a valid user name.%s\nA user name consists of %s.", name, suggestion, username.Allowed)
	return ""
}

// boolean reads true or false. It returns false for null and after a problem.
func (d *decoder) boolean(a argument) bool {
	b, ok := d.truth(a)
	return ok && b
}

// refused reads true or false, and reports whether the value is false.
func (d *decoder) refused(a argument) bool {
	b, ok := d.truth(a)
	return ok && !b
}

// truth reads true or false. The result ok is false for null and after a problem.
func (d *decoder) truth(a argument) (b, ok bool) {
	v, ok := d.value(a)
	if !ok {
		return false, false
	}
	if b, err := convert.Convert(v, cty.Bool); err == nil {
		return b.True(), true
	}
	d.invalidValue(a, v)
	return false, false
}

// cpus reads a number of processors.
func (d *decoder) cpus(a argument) int {
	v, ok := d.value(a)
	if !ok {
		return 0
	}
	var n int32 // more than any machine has, and the same limit on every host
	number, err := convert.Convert(v, cty.Number)
	if err == nil {
		err = gocty.FromCtyValue(number, &n)
	}
	if err != nil || n < 1 {
		d.add(a.expr.Range(), "Invalid value", "%s must be %s, not %s. Remove the line to get half of the host's processors.",
			a.name, a.want, kind(v))
		return 0
	}
	return int(n)
}

// size reads an amount of bytes such as "8G".
func (d *decoder) size(a argument) int64 {
	v, ok := d.value(a)
	if !ok {
		return 0
	}
	s, ok := d.textValue(a.form, v, a.expr.Range())
	if !ok {
		return 0
	}
	n, err := size.Parse(s)
	limit := ""
	switch {
	case errors.Is(err, size.ErrTooLarge) || n > maxSize:
		limit = "at most 1024P"
	case err != nil:
		d.invalidValue(a, v)
		return 0
	case n < minSize:
		limit = "at least 1G"
	case n%size.MiB != 0:
		limit = "a multiple of 1M"
	default:
		return n
	}
	d.add(a.expr.Range(), "Invalid value", "%s must be %s, not %q.%s", a.name, limit, s, a.forExample())
	return 0
}

// kind describes a value in a message. A short value describes itself.
func kind(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String && len(v.AsString()) < 40:
		return `"` + masked(v.AsString()) + `"`
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

// isList reports whether a value is a sequence of any type.
func isList(v cty.Value) bool {
	t := v.Type()
	return t.IsTupleType() || t.IsListType() || t.IsSetType()
}

// quotedOr returns options as part of a sentence: "a", "b" or "c".
func quotedOr(options []string) string {
	last := len(options) - 1
	return `"` + strings.Join(options[:last], `", "`) + `" or "` + options[last] + `"`
}
