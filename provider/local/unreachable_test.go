package local

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/supervisor"
)

// withUnreachable returns a provider whose machine "dev" is unreachable since then.
func withUnreachable(t *testing.T, since time.Time) *Provider {
	t.Helper()
	p, _ := withSilentSupervisor(t)
	if err := p.Bundles.Bundle("dev").WriteSettings(host.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	l := listen(t, p)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		jsonhttp.Answer(w, supervisor.Status{State: supervisor.StateUnreachable, Heard: since})
	})
	mux.HandleFunc("PUT /v1/services", func(w http.ResponseWriter, _ *http.Request) {
		jsonhttp.Fail(w, http.StatusConflict, &supervisor.UnreachableError{Since: since})
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }() // ends with the test
	t.Cleanup(func() { server.Close() })
	return p
}

func TestNothingWaitsForAnUnreachableMachine(t *testing.T) {
	since := time.Now().Add(-time.Minute)
	p := withUnreachable(t, since)
	for name, act := range map[string]func() error{
		"start":             func() error { return p.Start(t.Context(), "dev", nil) },
		"services":          func() error { return p.ApplyServices(t.Context(), "dev") },
		"wait for services": func() error { return p.WaitServices(t.Context(), "dev") },
	} {
		t.Run(name, func(t *testing.T) {
			err := act()
			var named *UnreachableError
			var lost *supervisor.UnreachableError
			if !errors.As(err, &named) || named.ID != "dev" || !errors.As(err, &lost) || !lost.Since.Equal(since) {
				t.Fatalf("error is %v", err)
			}
			if remedy := fault.Remedy(err); !strings.Contains(remedy, `"stead stop dev"`) {
				t.Errorf("remedy is %q", remedy)
			}
		})
	}
}

func TestUnreachableMachineIsObservedAsSuch(t *testing.T) {
	since := time.Now().Add(-time.Minute)
	p := withUnreachable(t, since)
	m := machine.Machine{Spec: machine.Spec{ID: "dev"}}
	p.Machines.observeRunning(t.Context(), p.Bundles.Bundle("dev"), &m)
	if m.State != machine.Unreachable || !m.Heard.Equal(since) || m.Problem == "" || !m.Active() {
		t.Errorf("observed %+v", m)
	}
}
