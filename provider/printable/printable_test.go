package printable

import (
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestTextShowsWhatIsHidden(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"plain text":                   {"dev  10.0.2.15\n", "dev  10.0.2.15\n"},
		"tabs and line feeds":          {"a\tb\nc", "a\tb\nc"},
		"letters of all scripts":       {"jörg 日本語 ✓ …", "jörg 日本語 ✓ …"},
		"wide and no-break spaces":     {"a\u00a0b\u3000c", "a\u00a0b\u3000c"},
		"a cleared screen":             {"\x1b[2J\x1b[H", `\u001b[2J\u001b[H`},
		"a carriage return":            {"image evil\rimage good", `image evil\u000dimage good`},
		"a title of the window":        {"\x1b]0;owned\x07", `\u001b]0;owned\u0007`},
		"an 8-bit control sequence":    {"\u009b2J", `\u009b2J`},
		"an 8-bit control as one byte": {"a\x9b2J", "a\ufffd2J"},
		"the replacement character":    {"a\ufffdb", "a\ufffdb"},
		"writing from right to left":   {"a\u202eb", `a\u202eb`},
		"a zero-width space":           {"a\u200bb", `a\u200bb`},
		"an invisible tag":             {"a\U000e0041b", `a\udb40\udc41b`},
		"delete, backspace and NUL":    {"\x7f\b\x00", `\u007f\u0008\u0000`},
		"a line separator":             {"a\u2028b", `a\u2028b`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Text(tt.text); got != tt.want {
				t.Errorf("Text(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func FuzzTextHasNothingThatATerminalObeys(f *testing.F) {
	f.Add("\x1b[2J\u009b")
	f.Fuzz(func(t *testing.T, text string) {
		got := Text(text)
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			t.Errorf("Text(%q) = %q", text, got)
		}
		if Text(got) != got {
			t.Errorf("Text(%q) = %q", got, Text(got))
		}
	})
}

func TestClockHasTheDateOfOldTimes(t *testing.T) {
	now := time.Now()
	if got, want := Clock(now.Add(-time.Minute)), now.Add(-time.Minute).Format("15:04:05"); got != want {
		t.Errorf("Clock = %q, want %q", got, want)
	}
	if got, want := Clock(now.Add(-24*time.Hour)), now.Add(-24*time.Hour).Format("2006-01-02 15:04:05"); got != want {
		t.Errorf("Clock = %q, want %q", got, want)
	}
}
