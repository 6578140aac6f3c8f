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
		"a colour that is not ours":      {"\x1b[1;31mError:\x1b[0m", `\u001b[1;31mError:\u001b[0m`},
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
		"a character over two prints":  {[]string{strings.Repeat("x", maxLogLine-1) + "é", "é\n"}, strings.Repeat("x", maxLogLine-1) + "éé\n"},
		"a sequence over two prints":   {[]string{strings.Repeat("x", maxLogLine-2) + "\x1b[3", "1mred\n"}, strings.Repeat("x", maxLogLine-2) + "red\n"},
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
