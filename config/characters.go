package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/stead-vm/stead/provider/printable"
)

// unlike reports whether r looks like nothing, or like an ordinary space.
func unlike(r rune) bool { return printable.Hidden(r) || r != ' ' && unicode.Is(unicode.Zs, r) }

// characterName names a character that is unlike others, by its code point.
func characterName(r rune) string {
	if printable.Hidden(r) {
		return fmt.Sprintf("invisible character %U", r)
	}
	return fmt.Sprintf("character %U (it looks like a space)", r)
}

// encoding reports a file that is not UTF-8. It returns the text without a byte order mark.
func (p *problems) encoding() (src []byte, ok bool) {
	src, err := printable.UTF8(p.src)
	var e *printable.EncodingError
	if !errors.As(err, &e) {
		return src, true
	}
	if e.Encoding != "" {
		// A line of it would be unreadable.
		p.src = nil
		p.add(hcl.Range{Start: hcl.InitialPos, End: hcl.InitialPos}, "Invalid character encoding",
			"The file is encoded as %s. Save it as UTF-8.", e.Encoding)
		return nil, false
	}
	before := string(p.src[:e.Offset])
	line := before[strings.LastIndexByte(before, '\n')+1:]
	at := hcl.Pos{Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(line), Byte: e.Offset}
	p.add(hcl.Range{Start: at, End: at}, "Invalid character encoding",
		"The byte 0x%02X is not UTF-8. Save the file as UTF-8.", p.src[e.Offset])
	return nil, false
}

// syntax reports problems of the HCL library. If characters that are unlike others are the reason,
// it reports these instead of what follows from them on the same line.
func (p *problems) syntax(diags hcl.Diagnostics) {
	tokens, _ := hclsyntax.LexConfig(p.src, p.shown, hcl.InitialPos) // its problems are among diags
	lines := map[int]bool{}
	for _, t := range tokens {
		r, _ := utf8.DecodeRune(t.Bytes)
		if t.Type != hclsyntax.TokenInvalid || !unlike(r) || lines[t.Range.Start.Line] {
			continue
		}
		lines[t.Range.Start.Line] = true
		remedy := "Remove it."
		switch {
		case r == '\r':
			remedy = "Save the file with line feeds (U+000A) as line ends."
		case unicode.Is(unicode.Zs, r):
			remedy = "Replace it with a space."
		}
		p.add(t.Range, "Invalid character", "The %s is not allowed outside of quotes. %s", characterName(r), remedy)
	}
	p.addHCL(slices.DeleteFunc(diags, func(d *hcl.Diagnostic) bool { return d.Subject != nil && lines[d.Subject.Start.Line] }))
}

// hiddenInLines returns the first hidden character of a text that may have lines and tabs.
func hiddenInLines(s string) (rune, bool) {
	i := strings.IndexFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && printable.Hidden(r) })
	if i < 0 {
		return 0, false
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return r, true
}

// alsoHas returns a line about the first character in a part of the file that its message would
// show like others, or "".
func alsoHas(part []byte, message string) string {
	i := strings.IndexFunc(string(part), func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && unlike(r) })
	if i < 0 {
		return ""
	}
	r, _ := utf8.DecodeRune(part[i:])
	if strings.Contains(message, fmt.Sprintf("%U", r)) {
		return ""
	}
	return fmt.Sprintf("\nThe text contains the %s.", characterName(r))
}

// atTheEnds returns the first character at the beginning or the end of s that looks like a space.
func atTheEnds(s string) (rune, bool) {
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	for _, r := range []rune{first, last} {
		if unlike(r) {
			return r, true
		}
	}
	return 0, false
}

// within returns the bytes of a range.
func within(src []byte, at hcl.Range) []byte {
	start := min(max(at.Start.Byte, 0), len(src))
	return src[start:min(max(at.End.Byte, start), len(src))]
}
