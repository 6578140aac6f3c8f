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
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/hypervisor"
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

func TestEventsChangeTheState(t *testing.T) {
	event := func(name, data string) qmpEvent { return qmpEvent{name, []byte(data)} }
	full := event("BLOCK_IO_ERROR", `{"device": "disk0", "operation": "write", "action": "stop", "nospace": true, "reason": "No space left on device"}`)
	quota := event("BLOCK_IO_ERROR", `{"device": "disk0", "operation": "write", "action": "stop", "nospace": false, "reason": "Disk quota exceeded"}`)
	tests := map[string]struct {
		events   []qmpEvent
		shutdown string
		paused   string // the error
		full     bool
	}{
		"a reset":                           {events: []qmpEvent{event("SHUTDOWN", `{"guest": true, "reason": "guest-reset"}`)}, shutdown: "guest-reset"},
		"only the first reason counts":      {events: []qmpEvent{event("SHUTDOWN", `{"reason": "guest-reset"}`), event("SHUTDOWN", `{"reason": "host-signal"}`)}, shutdown: "guest-reset"},
		"a shutdown without a reason":       {events: []qmpEvent{event("SHUTDOWN", `{}`)}},
		"a shutdown without data":           {events: []qmpEvent{{Name: "SHUTDOWN"}}},
		"a reason that is no text":          {events: []qmpEvent{event("SHUTDOWN", `{"reason": {"a": 1}}`)}},
		"a full disk":                       {events: []qmpEvent{full, {Name: "STOP"}}, paused: "cannot write /m/rootfs.ext4: No space left on device", full: true},
		"a full disk, then room":            {events: []qmpEvent{full, {Name: "STOP"}, {Name: "RESUME"}}},
		"a full disk, resumed, full again":  {events: []qmpEvent{full, {Name: "RESUME"}, full}, paused: "cannot write /m/rootfs.ext4: No space left on device", full: true},
		"a full quota":                      {events: []qmpEvent{quota, {Name: "STOP"}}, paused: "cannot write /m/rootfs.ext4: Disk quota exceeded"},
		"a full disk that is not ours":      {events: []qmpEvent{event("BLOCK_IO_ERROR", `{"device": "other", "action": "stop"}`)}, paused: "cannot write other: "},
		"an error that the guest gets":      {events: []qmpEvent{event("BLOCK_IO_ERROR", `{"device": "disk0", "action": "report"}`)}},
		"processors that QEMU stops":        {events: []qmpEvent{{Name: "STOP"}}, paused: "the hypervisor has stopped its processors"},
		"processors that QEMU starts again": {events: []qmpEvent{{Name: "STOP"}, {Name: "RESUME"}}},
		"other events":                      {events: []qmpEvent{event("POWERDOWN", `{"reason": "x"}`)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := &vm{disks: []hypervisor.Disk{{Path: "/m/rootfs.ext4"}}}
			for _, e := range tt.events {
				v.onEvent(e)
			}
			shutdown, paused := "", ""
			if reason := v.shutdown.Load(); reason != nil {
				shutdown = *reason
			}
			if err := v.Paused(); err != nil {
				paused = err.Error()
			}
			var failed *hypervisor.DiskError
			_ = errors.As(v.Paused(), &failed)
			if shutdown != tt.shutdown || paused != tt.paused || failed != nil && failed.Full != tt.full {
				t.Errorf("shutdown %q, paused %q (%+v), want %q and %q", shutdown, paused, failed, tt.shutdown, tt.paused)
			}
		})
	}
}

func FuzzMonitor(f *testing.F) {
	f.Add([]byte(greeting + `{"return": {}, "id": 1}`))
	f.Add([]byte(`{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}}` + "\n"))
	f.Fuzz(func(_ *testing.T, lines []byte) {
		m := newMonitor(readOnly{bytes.NewReader(lines)}, new(vm).onEvent)
		_ = m.handshake(context.Background())
		<-m.done
	})
}

type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }
