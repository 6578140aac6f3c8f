package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"
)

func TestPrinterMakesForeignTextVisible(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"plain text":                     {"dev  10.0.2.15\n", "dev  10.0.2.15\n"},
		"tabs and line feeds":            {"a\tb\nc", "a\tb\nc"},
		"letters of all scripts":         {"jörg 日本語 ✓ …", "jörg 日本語 ✓ …"},
		"wide and no-break spaces":       {"a\u00a0b\u3000c", "a\u00a0b\u3000c"},
		"a cleared screen":               {"\x1b[2J\x1b[H", `\u001b[2J\u001b[H`},
		"a colour that is not ours":      {"\x1b[1;31mError:\x1b[0m", `\u001b[1;31mError:\u001b[0m`},
		"a carriage return":              {"image evil\rimage good", `image evil\u000dimage good`},
		"a title of the window":          {"\x1b]0;owned\x07", `\u001b]0;owned\u0007`},
		"an 8-bit control sequence":      {"\u009b2J", `\u009b2J`},
		"an 8-bit control as one byte":   {"a\x9b2J", "a\ufffd2J"},
		"the replacement character":      {"a\ufffdb", "a\ufffdb"},
		"writing from right to left":     {"a\u202eb", `a\u202eb`},
		"a zero-width space":             {"a\u200bb", `a\u200bb`},
		"an invisible tag":               {"a\U000e0041b", `a\udb40\udc41b`},
		"delete, backspace and NUL":      {"\x7f\b\x00", `\u007f\u0008\u0000`},
		"a line separator":               {"a\u2028b", `a\u2028b`},
		"a mark that was guessed wrong":  {"\x00AAAAAAAAAAAAAAAAAAAAAAAAAA\x0031m", `\u0000AAAAAAAAAAAAAAAAAAAAAAAAAA\u000031m`},
		"our own colour":                 {palette(true).err("Error:") + " \x1b[2J", "\x1b[1;31mError:\x1b[0m " + `\u001b[2J`},
		"foreign text in our own colour": {palette(true).bold("a\x1b[0mb"), "\x1b[1ma" + `\u001b[0mb` + "\x1b[0m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if n, err := io.WriteString(&printer{&got}, tt.text); err != nil || n != len(tt.text) {
				t.Errorf("Write = %d, %v, want %d", n, err, len(tt.text))
			}
			if got.String() != tt.want {
				t.Errorf("printed %q, want %q", got.String(), tt.want)
			}
		})
	}
}

func FuzzPrinterPrintsNothingThatATerminalObeys(f *testing.F) {
	f.Add("\x1b[2J\u009b")
	f.Add(colourMark + "31mx")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, colourMark) {
			t.Skip()
		}
		var got bytes.Buffer
		fmt.Fprint(&printer{&got}, text)
		for _, r := range got.String() {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				t.Errorf("%q printed as %q", text, got.String())
			}
		}
	})
}

func TestPrintedJSONKeepsItsMeaning(t *testing.T) {
	want := "\x1b\u009b\u202e\U000e0041\x7f日本"
	var out bytes.Buffer
	if err := json.NewEncoder(&printer{&out}).Encode(want); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != want {
		t.Errorf("%s means %q, %v, want %q", out.Bytes(), got, err, want)
	}
}

func TestLogFilterPrintsLines(t *testing.T) {
	tests := map[string]struct {
		writes []string
		want   string
	}{
		"a boot":                       {[]string{"[    0.1] Linux\r\n", "\x1b[0;32m  OK  \x1b[0m started\r\n"}, "[    0.1] Linux\n  OK   started\n"},
		"a sequence over two writes":   {[]string{"a\x1b[", "31mb\n"}, "ab\n"},
		"a line that does not end":     {[]string{"a\nlogin: "}, "a\nlogin: "},
		"a line that is overwritten":   {[]string{"10%\r20%\r\n"}, "10%\n20%\n"},
		"a sequence that is no colour": {[]string{"\x1b]0;owned\x07a\x1b[2Jb\x07\n"}, `ab\u0007` + "\n"},
		"an endless line":              {[]string{strings.Repeat("x", 3*maxLogLine)}, strings.Repeat("x", 3*maxLogLine)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			f := &logFilter{to: &printer{&got}}
			for _, text := range tt.writes {
				if _, err := io.WriteString(f, text); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.flush(); err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("printed %q, want %q", got.String(), tt.want)
			}
		})
	}
}
