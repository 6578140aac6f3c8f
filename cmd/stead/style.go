package main

import "os"

// palette colours text for a person; elsewhere it leaves text as it is. A [printer] turns its
// marks into escape sequences.
type palette bool

// styles is the palette for what is written to w. NO_COLOR is the convention of
// no-color.org.
func styles(w *printer) palette {
	return palette(isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb")
}

func (p palette) paint(sgr, text string) string {
	if !p || text == "" {
		return text
	}
	return colourMark + sgr + "m" + text + colourMark + "0m"
}

func (p palette) err(text string) string    { return p.paint("1;31", text) }
func (p palette) hint(text string) string   { return p.paint("1;36", text) }
func (p palette) add(text string) string    { return p.paint("32", text) }
func (p palette) change(text string) string { return p.paint("33", text) }
func (p palette) remove(text string) string { return p.paint("31", text) }
func (p palette) bold(text string) string   { return p.paint("1", text) }
