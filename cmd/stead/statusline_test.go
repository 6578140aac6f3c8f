package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// onTerminal returns what do writes to a terminal of 40 columns.
func onTerminal(t *testing.T, do func(w *printer)) string {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	defer master.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	do(&printer{raw: tty})
	if _, err := io.WriteString(tty, "END"); err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	var all bytes.Buffer
	buf := make([]byte, 1024)
	for !strings.HasSuffix(all.String(), "END") {
		n, err := master.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSuffix(all.String(), "END")
}

func TestANoticeOnATerminalGoesAway(t *testing.T) {
	t.Setenv("TERM", "xterm")
	got := onTerminal(t, func(w *printer) {
		n := (&app{err: w}).newNotice("dev")
		n.show("it is booting")
		n.show("it\x1b[2J")
		n.clear()
		n.clear()
	})
	want := "\r\x1b[KWaiting for machine dev to answer: it …" +
		"\r\x1b[KWaiting for machine dev to answer: it\\…" +
		"\r\x1b[K"
	if got != want {
		t.Errorf("the terminal got\n%q\nwant\n%q", got, want)
	}
}

func TestANoticeElsewhereIsALine(t *testing.T) {
	const want = "Waiting for machine dev to answer: it is booting. Press Ctrl-C to give up.\n"
	show := func(w *printer) {
		n := (&app{err: w}).newNotice("dev")
		n.show("it is booting")
		n.clear()
		if n.next() != nil {
			t.Error("it is repeated")
		}
	}
	var file bytes.Buffer
	if show(&printer{raw: &file}); file.String() != want {
		t.Errorf("a file got %q", file.String())
	}
	t.Setenv("TERM", "dumb")
	if got := onTerminal(t, show); strings.ReplaceAll(got, "\r\n", "\n") != want {
		t.Errorf("a terminal without escape sequences got %q", got)
	}
}
