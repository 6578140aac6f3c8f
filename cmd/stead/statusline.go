package main

import (
	"io"
	"os"
	"strconv"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/stead-vm/stead/provider/printable"
)

// statusLine is a line on a terminal that says what the command waits for, and goes away.
type statusLine struct {
	w     io.Writer
	width int // columns
	shown bool
}

// newStatusLine returns nil if w is not a terminal that can take a line away.
func newStatusLine(w *printer) *statusLine {
	f := terminal(w)
	if f == nil || os.Getenv("TERM") == "dumb" {
		return nil
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width == 0 {
		width = 80
	}
	return &statusLine{w: w.raw, width: width}
}

// columns is the width for a guest, who writes such a line itself: see [guest.EnvProgress].
func (l *statusLine) columns() string { return strconv.Itoa(l.width) }

// show replaces the line. A text that is too long for it is cut, because a terminal takes only one
// line away.
func (l *statusLine) show(text string) {
	l.shown = true
	_, _ = io.WriteString(l.w, "\r\x1b[K"+ansi.Truncate(printable.Text(text), l.width-1, "…"))
}

// clear takes the line away.
func (l *statusLine) clear() {
	if l.shown {
		l.shown = false
		_, _ = io.WriteString(l.w, "\r\x1b[K")
	}
}
