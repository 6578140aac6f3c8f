package local

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/guest/jsonhttp"
	"github.com/stead-vm/stead/provider/supervisor"
)

// withSilentSupervisor returns a provider whose machine "dev" has a supervisor that does not
// listen yet, and that supervisor's lock.
func withSilentSupervisor(t *testing.T) (*Provider, *flock.Flock) {
	t.Helper()
	p := newProvider(t)
	if err := os.Mkdir(p.Bundles.Bundle("dev").Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	alive := flock.New(p.Bundles.Bundle("dev").Path("supervisor.lock"))
	if ok, err := alive.TryLock(); err != nil || !ok {
		t.Fatal(ok, err)
	}
	t.Cleanup(func() { _ = alive.Unlock() })
	return p, alive
}

// listen listens where the supervisor of the machine "dev" would.
func listen(t *testing.T, p *Provider) net.Listener {
	t.Helper()
	dir, err := runDir(p.Bundles, "dev").Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runDir(p.Bundles, "dev").Remove() })
	l, err := net.Listen("unix", filepath.Join(dir, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// answerStatus makes the supervisor of "dev" answer each request by a status. wait is the
// condition that the request waits for.
func answerStatus(t *testing.T, p *Provider, status func(wait string) supervisor.Status) {
	t.Helper()
	l := listen(t, p)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		jsonhttp.Answer(w, status(r.FormValue("wait")))
	})}
	go func() { _ = server.Serve(l) }() // ends with the test
	t.Cleanup(func() { server.Close() })
}

func TestStopRetriesASilentSupervisor(t *testing.T) {
	p, alive := withSilentSupervisor(t)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(t.Context(), "dev", StopOptions{}) }()
	asked := false
	answerStatus(t, p, func(string) supervisor.Status {
		asked = true
		_ = alive.Unlock()
		return supervisor.Status{State: supervisor.StateStopped}
	})
	if err := <-stopped; err != nil || !asked {
		t.Errorf("Stop = %v, asked: %v", err, asked)
	}
}

func TestStopEndsWithTheSupervisor(t *testing.T) {
	p, alive := withSilentSupervisor(t)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(t.Context(), "dev", StopOptions{}) }()
	if err := alive.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestStopOfASilentSupervisorEndsWithItsContext(t *testing.T) {
	p, _ := withSilentSupervisor(t)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := p.Stop(ctx, "dev", StopOptions{}); !errors.Is(err, enough) {
		t.Errorf("Stop = %v, want %v", err, enough)
	}
}

// logOf makes p log to the returned channel, one line each.
func logOf(p *Provider) <-chan string {
	lines := make(lineWriter, 16)
	p.log = slog.New(slog.NewTextHandler(lines, nil))
	return lines
}

type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

func TestStartSaysWhichMachineItWaitsFor(t *testing.T) {
	tests := map[string]struct {
		first, then supervisor.Status
		says        string // empty: nothing
	}{
		"one that boots":                {supervisor.Status{State: supervisor.StateBooting}, supervisor.Status{State: supervisor.StateRunning}, "waiting for machine dev, which is booting"},
		"one that stops":                {supervisor.Status{State: supervisor.StateStopping}, supervisor.Status{State: supervisor.StateRunning}, "waiting for machine dev, which is stopping"},
		"one that pauses while booting": {supervisor.Status{State: supervisor.StatePaused, Problem: "no space"}, supervisor.Status{State: supervisor.StateRunning}, "waiting for machine dev, which is paused: no space"},
		"not one that runs":             {supervisor.Status{State: supervisor.StateRunning}, supervisor.Status{State: supervisor.StateRunning}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := withSilentSupervisor(t)
			said := logOf(p)
			answerStatus(t, p, func(wait string) supervisor.Status {
				if wait == "" {
					return tt.first
				}
				return tt.then
			})
			running, err := p.alreadyRunning(t.Context(), p.Bundles.Bundle("dev"), "dev")
			if err != nil || !running {
				t.Fatalf("running: %v, %v", running, err)
			}
			line := ""
			select {
			case line = <-said:
			default:
			}
			if (line == "") != (tt.says == "") || !strings.Contains(line, tt.says) {
				t.Errorf("logged %q, want %q", line, tt.says)
			}
			if len(said) > 0 {
				t.Errorf("logged %q, too", <-said)
			}
		})
	}
}

func TestInterruptedStartSaysThatItStopsTheMachine(t *testing.T) {
	p, alive := withSilentSupervisor(t)
	said := logOf(p)
	dir := t.TempDir()
	ended := filepath.Join(dir, "ended")
	p.opts.Exe = filepath.Join(dir, "supervisor") // ends with the test's file
	script := "#!/bin/sh\nuntil [ -e '" + ended + "' ]; do sleep 0.01; done\n"
	if err := os.WriteFile(p.opts.Exe, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	result := make(chan error, 1)
	go func() { result <- p.boot(ctx, p.Bundles.Bundle("dev"), "dev") }()
	if line := <-said; !strings.Contains(line, "stopping machine dev, whose start was interrupted") {
		t.Errorf("logged %q", line)
	}
	err := errors.Join(os.WriteFile(ended, nil, 0o600), alive.Unlock())
	if got := <-result; !errors.Is(got, enough) || err != nil {
		t.Errorf("boot = %v, %v", got, err)
	}
}
