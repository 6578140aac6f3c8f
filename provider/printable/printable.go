// Package printable makes text fit to be read on a terminal: text that others wrote, which a
// terminal might obey, and times.
package printable

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Hidden reports whether r has no visible form, or is obeyed by terminals: control characters,
// marks that reverse the direction of writing, and the like. Spaces of all widths can be seen.
func Hidden(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) }

// Text replaces hidden characters other than line feeds and tabs by escapes. These are those of
// JSON, so that text in JSON keeps its meaning.
func Text(text string) string {
	if strings.IndexFunc(text, escaped) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text { // a byte that is no character is [utf8.RuneError]
		if !escaped(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func escaped(r rune) bool { return r != '\n' && r != '\t' && Hidden(r) }

// Clock returns the time of day of t here, with the date if that is more than half a day ago.
func Clock(t time.Time) string {
	layout := time.TimeOnly
	if time.Since(t) > 12*time.Hour {
		layout = time.DateTime
	}
	return t.Local().Format(layout)
}
