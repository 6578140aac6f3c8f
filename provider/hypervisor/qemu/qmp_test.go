//go:build linux

package qemu

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}` + "\r\n"

// fakeQEMU is QEMU's end of a monitor.
type fakeQEMU struct {
	net.Conn
	lines *bufio.Scanner
}

// newFake connects a monitor to a fake and collects the names of its events.
func newFake(t *testing.T) (*monitor, fakeQEMU, <-chan string) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	events := make(chan string, 10)
	m := newMonitor(ours, func(e qmpEvent) { events <- e.Name })
	return m, fakeQEMU{theirs, bufio.NewScanner(theirs)}, events
}

func (f fakeQEMU) say(lines ...string) {
	for _, l := range lines {
		if _, err := io.WriteString(f, l+"\r\n"); err != nil {
			return
		}
	}
}

// hear reads the next command.
func (f fakeQEMU) hear() string {
	if f.lines.Scan() {
		return f.lines.Text()
	}
	return ""
}

func TestMonitorHandshakeThenCommands(t *testing.T) {
	m, fake, events := newFake(t)
	var heard []string
	go func() {
		fake.say(strings.TrimSpace(greeting))
		heard = append(heard, fake.hear())
		fake.say(`{"return": {}, "id": 1}`)
		heard = append(heard, fake.hear())
		fake.say(`{"event": "POWERDOWN", "timestamp": {"seconds": 1}}`, `{"return": {}, "id": 2}`)
		fake.Close()
	}()
	if err := m.handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.execute(t.Context(), "system_powerdown"); err != nil {
		t.Fatal(err)
	}
	<-m.done
	want := []string{`{"execute":"qmp_capabilities","id":1}`, `{"execute":"system_powerdown","id":2}`}
	if d := cmp.Diff(want, heard); d != "" {
		t.Errorf("commands mismatch (-want +got):\n%s", d)
	}
	if e := <-events; e != "POWERDOWN" {
		t.Errorf("event %q, want POWERDOWN", e)
	}
}

func TestMonitorReportsARefusedCommand(t *testing.T) {
	m, fake, _ := newFake(t)
	go func() {
		fake.hear()
		fake.say(`{"id": 1, "error": {"class": "CommandNotFound", "desc": "The command nonsense has not been found"}}`)
	}()
	err := m.execute(t.Context(), "nonsense")
	var refused *qmpError
	if !errors.As(err, &refused) || refused.Class != "CommandNotFound" || !strings.Contains(err.Error(), "nonsense has not been found") {
		t.Errorf("execute = %v, want QEMU's refusal", err)
	}
}

func TestMonitorFailsWhenItsConnectionEnds(t *testing.T) {
	tests := map[string]func(fakeQEMU){
		"closed before the greeting": func(f fakeQEMU) { f.Close() },
		"not JSON":                   func(f fakeQEMU) { f.say("hello") },
		"closed instead of an answer": func(f fakeQEMU) {
			f.say(strings.TrimSpace(greeting))
			f.hear()
			f.Close()
		},
		"an endless line": func(f fakeQEMU) { f.say(strings.Repeat("x", qmpLineLimit+1)) },
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			m, fake, _ := newFake(t)
			go serve(fake)
			if err := m.handshake(t.Context()); err == nil {
				t.Error("handshake succeeded")
			}
			if err := m.execute(t.Context(), "system_powerdown"); err == nil {
				t.Error("a command on a broken connection succeeded")
			}
		})
	}
	t.Run("the caller gave up", func(t *testing.T) {
		m, _, _ := newFake(t)
		gaveUp := errors.New("gave up")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gaveUp)
		if err := m.handshake(ctx); !errors.Is(err, gaveUp) {
			t.Errorf("handshake = %v, want %v", err, gaveUp)
		}
	})
}

func TestShutdownReason(t *testing.T) {
	tests := map[string]struct {
		event  qmpEvent
		reason string
		fails  bool
	}{
		"reset":        {event: qmpEvent{"SHUTDOWN", []byte(`{"guest": true, "reason": "guest-reset"}`)}, reason: "guest-reset"},
		"other events": {event: qmpEvent{Name: "STOP"}},
		"no reason":    {event: qmpEvent{"SHUTDOWN", []byte(`{}`)}, fails: true},
		"no data":      {event: qmpEvent{Name: "SHUTDOWN"}, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reason, err := shutdownReason(tt.event)
			if reason != tt.reason || (err != nil) != tt.fails {
				t.Errorf("shutdownReason = %q, %v", reason, err)
			}
		})
	}
}

func FuzzMonitor(f *testing.F) {
	f.Add([]byte(greeting + `{"return": {}, "id": 1}`))
	f.Add([]byte(`{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}` + "\n"))
	f.Fuzz(func(_ *testing.T, lines []byte) {
		m := newMonitor(readOnly{bytes.NewReader(lines)}, func(e qmpEvent) { _, _ = shutdownReason(e) })
		_ = m.handshake(context.Background())
		<-m.done
	})
}

type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error) { return len(p), nil }
func (readOnly) Close() error                { return nil }
