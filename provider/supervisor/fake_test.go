package supervisor

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// fakeVM is a machine whose guest is an HTTP server in this process.
type fakeVM struct {
	guest *http.Server
	l     net.Listener

	obeysShutdown, obeysButton, hangs bool // hangs: the hypervisor does not answer

	mu    sync.Mutex
	heard []string // requests to the guest
	time  time.Time
	done  chan struct{}
	exit  hypervisor.Exit
	pause error
}

func (v *fakeVM) Dial(ctx context.Context, _ uint32) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", v.l.Addr().String())
}

func (v *fakeVM) PowerButton(ctx context.Context) error {
	v.hear("power button")
	if v.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if v.obeysButton {
		v.end(hypervisor.Exit{Reason: hypervisor.PoweredOff})
	}
	return nil
}

func (v *fakeVM) Kill(context.Context) error {
	v.hear("kill")
	v.end(hypervisor.Exit{Reason: hypervisor.Killed})
	return nil
}

func (v *fakeVM) Paused() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pause
}

// setPaused pauses the machine for this reason.
func (v *fakeVM) setPaused(why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pause = why
}

func (v *fakeVM) Resume(context.Context) error {
	v.hear("resume")
	v.setPaused(nil)
	return nil
}

func (v *fakeVM) Done() <-chan struct{} { return v.done }
func (v *fakeVM) Exit() hypervisor.Exit { return v.exit }
func (v *fakeVM) PID() int              { return 0 }

func (v *fakeVM) hear(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heard = append(v.heard, what)
}

func (v *fakeVM) asked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.heard)
}

func (v *fakeVM) end(e hypervisor.Exit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.done:
	default:
		v.exit = e
		close(v.done)
		v.guest.Close()
	}
}

// fakeDriver starts fakeVMs, whose agents answer with guestStatus.
type fakeDriver struct {
	t           *testing.T
	guestStatus guest.Status // before the guest is started; see says
	set         func(*fakeVM)
	badService  string
	startErr    error
	started     chan *fakeVM

	mu sync.Mutex
}

// says changes guestStatus.
func (d *fakeDriver) says(st guest.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guestStatus = st
}

func (d *fakeDriver) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	return hypervisor.Capabilities{}, nil
}
func (d *fakeDriver) Validate(context.Context, hypervisor.Config) error { return nil }
func (d *fakeDriver) Examine(context.Context) []doctor.Finding          { return nil }

func (d *fakeDriver) NetworkSettings() hypervisor.NetworkSettings {
	return hypervisor.NetworkSettings{}
}

func (d *fakeDriver) Start(context.Context, hypervisor.Config) (hypervisor.VM, error) {
	if d.startErr != nil {
		return nil, d.startErr
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	v := &fakeVM{l: l, done: make(chan struct{}), obeysShutdown: true}
	if d.set != nil {
		d.set(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		jsonhttp.Answer(w, d.guestStatus)
	})
	mux.HandleFunc("PUT /v1/clock", func(_ http.ResponseWriter, r *http.Request) {
		var body guest.Clock
		_ = json.NewDecoder(r.Body).Decode(&body)
		v.mu.Lock()
		v.time = body.Time
		v.mu.Unlock()
		v.hear("clock")
	})
	mux.HandleFunc("PUT /v1/services", func(w http.ResponseWriter, r *http.Request) {
		var body guest.Services
		_ = json.NewDecoder(r.Body).Decode(&body)
		v.hear("services " + strings.Join(body.Want, ","))
		states := []guest.ServiceState{}
		for _, name := range body.Want {
			st := guest.ServiceState{Name: name, Active: name != d.badService}
			if !st.Active {
				st.Error = "unit not found"
			}
			states = append(states, st)
		}
		jsonhttp.Answer(w, states)
	})
	mux.HandleFunc("POST /v1/shutdown", func(w http.ResponseWriter, _ *http.Request) {
		v.hear("shutdown")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush() // like the agent: answer before the end
		if v.obeysShutdown {
			go v.end(hypervisor.Exit{Reason: hypervisor.PoweredOff})
		}
	})
	v.guest = &http.Server{Handler: mux}
	go func() { _ = v.guest.Serve(l) }()
	d.t.Cleanup(func() { v.guest.Close() })
	d.started <- v
	return v, nil
}

func newDriver(t *testing.T) *fakeDriver {
	return &fakeDriver{t: t, guestStatus: guest.Status{Ready: true}, started: make(chan *fakeVM, 10)}
}

// testSupervisor is a running supervisor.
type testSupervisor struct {
	client *Client
	err    chan error // of Run
	cancel context.CancelFunc

	mu      sync.Mutex
	settled [][]string
	boots   int
}

// socketDir returns a directory for sockets. Paths in t.TempDir are too long on macOS.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func startSupervisor(t *testing.T, d *fakeDriver, services ...string) *testSupervisor {
	t.Helper()
	dir := socketDir(t)
	r := &testSupervisor{client: NewClient(at(dir)), err: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	t.Cleanup(cancel)
	ready := make(chan struct{})
	go func() {
		r.err <- Run(ctx, Options{
			RunDir: dir, Driver: d,
			Ready: func() { close(ready) },
			Prepare: func(context.Context) (Boot, error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.boots++
				return Boot{Services: services}, nil
			},
			Settled: func(s []string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.settled = append(r.settled, s)
			},
		})
		close(r.err)
	}()
	if d.startErr == nil && d.guestStatus.Fault == nil {
		select {
		case <-ready:
		case err := <-r.err:
			t.Fatalf("ended before it was ready: %v", err)
		}
	}
	return r
}
