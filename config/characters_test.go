package config

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// wide encodes text as UTF-16, little-endian.
func wide(text string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(text)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

func TestCharactersThatCannotBeSeenAreNamed(t *testing.T) {
	const good = "machine \"a\" {\n  image = \"alpine:3\"\n}\n"
	tests := map[string]struct {
		text string
		want []string // the position and detail of each problem
	}{
		"plain":                            {good, nil},
		"a byte order mark":                {"\ufeff" + good, nil},
		"lines of Windows":                 {strings.ReplaceAll(good, "\n", "\r\n"), nil},
		"in a comment":                     {"# a\u200b\u00a0\n" + good, nil},
		"UTF-16":                           {wide("\ufeff" + strings.Repeat(good, 7)), []string{"1:1: The file is encoded as UTF-16. Save it as UTF-8."}},
		"UTF-16 without a byte order mark": {wide(good), []string{"1:1: The file is encoded as UTF-16. Save it as UTF-8."}},
		"Latin-1":                          {"# é\n# é\xe9\n" + good, []string{"2:4: The byte 0xE9 is not UTF-8. Save the file as UTF-8."}},
		"a no-break space": {
			strings.Replace(good, "image ", "image\u00a0", 1),
			[]string{"2:8: The character U+00A0 (it looks like a space) is not allowed outside of quotes. Replace it with a space."},
		},
		"a zero-width space": {
			strings.Replace(good, "image", "image\u200b", 1),
			[]string{"2:8: The invisible character U+200B is not allowed outside of quotes. Remove it."},
		},
		"a NUL": {
			strings.Replace(good, "\n}", "\x00\n}", 1),
			[]string{"2:21: The invisible character U+0000 is not allowed outside of quotes. Remove it."},
		},
		"a byte order mark in the middle": {
			"\n\ufeff" + good,
			[]string{"2:1: The invisible character U+FEFF is not allowed outside of quotes. Remove it."},
		},
		"lines of an old Mac": {
			strings.ReplaceAll(good, "\n", "\r"),
			[]string{"1:14: The invisible character U+000D is not allowed outside of quotes. Save the file with line feeds (U+000A) as line ends."},
		},
		"beside another problem": {
			"x\u00a0= 1\ny ? 2\n",
			[]string{
				"1:2: The character U+00A0 (it looks like a space) is not allowed outside of quotes. Replace it with a space.",
				`2:1: An argument or block definition is required here. To set an argument, use the equals sign "=" to introduce the argument value.`,
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseText(tt.text)
			var got []string
			if problems, ok := err.(Diagnostics); ok { //nolint:errorlint // parse's error is never wrapped
				for _, p := range problems {
					got = append(got, fmt.Sprintf("%d:%d: %s", p.Pos.Line, p.Column, p.Detail))
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}
