package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

const (
	panicText = "[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n" +
		"[    1.2] CPU: 0 PID: 1 Comm: init\r\n[    1.2] Call Trace:\r\n"
	endText = "[    1.3] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---\r\n"
	message = "Attempted to kill init! exitcode=0x00000100"
)

// after returns the console of a guest that has printed text.
func after(text string) *Console {
	c := New(nil)
	c.Copy(context.Background(), strings.NewReader(text))
	return c
}

func TestPanicsAreReadFromTheConsole(t *testing.T) {
	tests := map[string]struct {
		text     string
		panicked bool
		halted   bool
	}{
		"a quiet boot":                        {text: "login: "},
		"nothing":                             {},
		"a kernel that resets":                {text: panicText, panicked: true},
		"a kernel that halts":                 {text: panicText + endText, panicked: true, halted: true},
		"a halt printed in part":              {text: panicText + endText[:60], panicked: true},
		"a running guest that prints a panic": {text: panicText + endText + "login: ", panicked: true},
		"a panic after much else":             {text: strings.Repeat("noise\n", 100_000) + panicText + endText, panicked: true, halted: true},
		"a panic before much else":            {text: panicText + strings.Repeat("noise\n", 100_000)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := after(tt.text)
			check(t, "Panic", c.Panic(), tt.panicked)
			check(t, "Halted", c.Halted(), tt.halted)
		})
	}
}

func check(t *testing.T, what string, err error, want bool) {
	t.Helper()
	var gaveUp *PanicError
	if errors.As(err, &gaveUp) != want {
		t.Fatalf("%s = %v, want a panic: %v", what, err, want)
	}
	if want && gaveUp.Message != message {
		t.Errorf("%s = %q, want %q", what, gaveUp.Message, message)
	}
}

func TestEverythingIsPassedOn(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 20_000)
	var log bytes.Buffer
	c := New(&log)
	c.Copy(t.Context(), strings.NewReader(text))
	<-c.Ended()
	if log.String() != text {
		t.Errorf("the log has %d bytes, want all %d", log.Len(), len(text))
	}
}

// endless is a guest that prints without end, until it is closed.
type endless struct {
	closed context.Context
	read   int
	after  int           // bytes
	then   chan struct{} // closed after that many
}

func (e *endless) Read(p []byte) (int, error) {
	if e.closed.Err() != nil {
		return 0, io.EOF
	}
	if e.read < e.after && e.read+len(p) >= e.after {
		close(e.then)
	}
	e.read += len(p)
	return len(p), nil
}

func TestFloodingGuestWaits(t *testing.T) {
	over, end := context.WithCancel(t.Context())
	c := New(nil)
	c.rate = rate.NewLimiter(0, 5*chunk) // without a flow, only the burst passes
	guest := &endless{closed: over, after: 6 * chunk, then: make(chan struct{})}
	go c.Copy(over, guest)
	<-guest.then
	end()
	<-c.Ended()
	if guest.read > 7*chunk {
		t.Errorf("read %d bytes of an endless guest, want at most %d", guest.read, 7*chunk)
	}
}

// broken is a log on a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestLogThatFailsDoesNotStopTheGuest(t *testing.T) {
	c := New(broken{})
	c.Copy(t.Context(), strings.NewReader(panicText))
	check(t, "Panic", c.Panic(), true)
}

func TestLastLines(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"nothing":             {"", nil},
		"fewer than asked":    {"a\r\nb", []string{"a", "b"}},
		"more than asked":     {"a\nb\nc\nd\n", []string{"b", "c", "d"}},
		"empty lines between": {"a\n\n\r\nb\n \n", []string{"a", "b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := after(tt.text).Last(3); !slices.Equal(got, tt.want) {
				t.Errorf("Last = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWatchReportsAHalt(t *testing.T) {
	in, out := io.Pipe()
	c := New(nil)
	go c.Copy(t.Context(), in)
	told := make(chan error, 2)
	left := make(chan struct{})
	go func() {
		defer close(left)
		c.Watch(t.Context().Done(), time.Millisecond, func(err error) { told <- err })
	}()
	if _, err := io.WriteString(out, panicText+endText); err != nil {
		t.Fatal(err)
	}
	check(t, "Watch", <-told, true)
	<-left
	out.Close()
	<-c.Ended()
}

func TestWatchEndsWithTheMachine(t *testing.T) {
	gone := make(chan struct{})
	close(gone)
	after("").Watch(gone, time.Hour, func(err error) { t.Error(err) })
}
