package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Problem is one thing that is wrong in a project file.
type Problem struct {
	Pos     Position
	Column  int    // from 1, in characters
	Summary string // what is wrong in a few words, such as "Unsupported argument"
	Detail  string // lines that name the cause, what is allowed and what to write; may be empty
	Source  string // the line at Pos, without control characters; empty when there is none
	Marks   string // spaces and carets to print below Source
}

// String returns the problem as a compiler prints it: position and summary on
// one line, then the source with carets, then the detail.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: %s\n", p.Pos, p.Column, p.Summary)
	if p.Source != "" {
		fmt.Fprintf(&b, "%5d | %s\n      | %s\n", p.Pos.Line, p.Source, p.Marks)
	}
	if p.Detail != "" {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(p.Detail, "\n", "\n  "))
	}
	return b.String()
}

// Diagnostics is the error of [Load]: every problem of a file, in the order of the file.
type Diagnostics []Problem

func (d Diagnostics) Error() string {
	texts := make([]string, len(d))
	for i, p := range d {
		texts[i] = p.String()
	}
	return strings.TrimSuffix(strings.Join(texts, "\n"), "\n")
}

// problems collects the problems of one file.
type problems struct {
	shown string // the file's name in messages
	src   []byte
	list  Diagnostics
}

// add reports a problem at a range of the file. The rest formats its detail.
func (p *problems) add(at hcl.Range, summary, format string, args ...any) {
	problem := Problem{
		Pos:     Position{File: p.shown, Line: at.Start.Line},
		Column:  at.Start.Column,
		Summary: summary,
		Detail:  fmt.Sprintf(format, args...),
	}
	problem.Detail += alsoHas(within(p.src, at), problem.Detail)
	problem.Source, problem.Marks = excerpt(p.src, at)
	p.list = append(p.list, problem)
}

// addHCL reports the problems that the HCL library found.
func (p *problems) addHCL(diags hcl.Diagnostics) {
	for _, d := range diags {
		at := hcl.Range{Start: hcl.InitialPos, End: hcl.InitialPos}
		if d.Subject != nil {
			at = *d.Subject
		}
		p.add(at, oneLine(d.Summary), "%s", oneLine(d.Detail))
	}
}

// err returns every problem in the order of the file, or nil if there is none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Summary, b.Summary), cmp.Compare(a.Detail, b.Detail))
	})
	return p.list
}

// excerpt returns the line on which a range begins, and carets below the part of
// the range that is on that line.
func excerpt(src []byte, at hcl.Range) (line, marks string) {
	start := min(max(at.Start.Byte, 0), len(src))
	end := min(max(at.End.Byte, start), len(src))
	from := bytes.LastIndexByte(src[:start], '\n') + 1
	to := len(src)
	if i := bytes.IndexByte(src[start:], '\n'); i >= 0 {
		to = start + i
	}
	line = masked(strings.TrimRight(string(src[from:to]), "\r"))
	if strings.TrimSpace(line) == "" {
		return "", ""
	}
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(src[from:start]))
	return line, indent + strings.Repeat("^", max(1, utf8.RuneCount(src[start:min(end, to)])))
}

// masked replaces control characters, which a terminal would obey, one by one: columns stay.
func masked(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// oneLine joins the lines of a message.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
