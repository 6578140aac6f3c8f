package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
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

func TestStopRetriesASilentSupervisor(t *testing.T) {
	p, alive := withSilentSupervisor(t)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(t.Context(), "dev", StopOptions{}) }()
	l := listen(t, p)
	asked := false
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked = true
		jsonhttp.Answer(w, supervisor.Status{State: supervisor.StateStopped})
		_ = alive.Unlock()
	})}
	go func() { _ = server.Serve(l) }() // ends with the test
	t.Cleanup(func() { server.Close() })
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
