package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/stead-vm/stead/provider/printable"
)

// printer writes the program's own output to one of its streams. Much of that output is foreign:
// a guest's address and errors, a registry's answer, a path in a project file. A terminal would
// obey the control characters in it, so a printer makes them visible. Its own colours pass, as
// [palette] marks them, with a random mark.
type printer struct {
	raw io.Writer // the stream itself, for what must pass unchanged, such as a session
}

// Write writes p, which ends between two characters.
func (w *printer) Write(p []byte) (int, error) {
	parts := strings.Split(string(p), colourMark)
	var out strings.Builder
	out.WriteString(printable.Text(parts[0]))
	for _, part := range parts[1:] {
		sgr, text, _ := strings.Cut(part, "m")
		out.WriteString("\x1b[" + sgr + "m" + printable.Text(text))
	}
	if _, err := io.WriteString(w.raw, out.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// colourMark stands for the beginning of a colour's escape sequence. It is different in each
// process, so foreign text cannot contain it.
var colourMark = "\x00" + rand.Text() + "\x00"

// terminal returns the file that w writes to if that is a terminal, else nil.
func terminal(w any) *os.File {
	if p, ok := w.(*printer); ok {
		w = p.raw
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// isTerminal reports whether w, a file or a printer of one, is a terminal.
func isTerminal(w any) bool { return terminal(w) != nil }

// logFilter prints a log line by line. It removes the escape sequences with which programs
// colour their output, and lets printer deal with all others.
type logFilter struct {
	to   *printer
	line []byte // not yet ended
}

// maxLogLine is the length at which a line is printed although it has not ended, in bytes.
const maxLogLine = 8 << 10

func (f *logFilter) Write(p []byte) (int, error) {
	f.line = append(f.line, p...)
	for {
		end := bytes.IndexByte(f.line, '\n') + 1
		if end == 0 {
			if len(f.line) < maxLogLine {
				return len(p), nil
			}
			end = whole(f.line)
		}
		if err := f.print(f.line[:end]); err != nil {
			return 0, err
		}
		f.line = f.line[end:]
	}
}

// whole returns how much of the line ends with a character that is whole and, as far as that is
// near, before an escape sequence.
func whole(line []byte) int {
	end := len(line)
	if i := bytes.LastIndexByte(line, 0x1b); i > end-maxSequence {
		end = i
	}
	for back := 1; back < utf8.UTFMax && back <= end; back++ {
		if c := line[end-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(line[end-back : end]) {
				end -= back
			}
			break
		}
	}
	return end
}

// maxSequence is the length of escape sequences that programs use for colours, in bytes.
const maxSequence = 32

// flush prints a line that has not ended.
func (f *logFilter) flush() error {
	defer func() { f.line = nil }()
	return f.print(f.line)
}

// print prints a line. A carriage return within it would overwrite what it follows.
func (f *logFilter) print(line []byte) error {
	text := strings.TrimRight(ansi.Strip(string(bytes.TrimRight(line, "\r\n"))), "\r")
	text = strings.ReplaceAll(text, "\r", "\n")
	if bytes.HasSuffix(line, []byte("\n")) {
		text += "\n"
	}
	_, err := io.WriteString(f.to, text)
	return err
}
