package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/fault"

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

func TestStopEscalates(t *testing.T) {
	tests := map[string]struct {
		set   func(*fakeVM)
		how   Stop
		heard []string
	}{
		"a guest that shuts down is only asked":                  {func(*fakeVM) {}, Stop{}, []string{"shutdown"}},
		"an init that ignores the request gets the power button": {func(v *fakeVM) { v.obeysShutdown, v.obeysButton = false, true }, Stop{Grace: time.Millisecond}, []string{"shutdown", "power button"}},
		"a hypervisor that hangs is killed":                      {func(v *fakeVM) { v.obeysShutdown, v.hangs = false, true }, Stop{Grace: time.Millisecond}, []string{"shutdown", "power button", "kill"}},
		"force cuts the power at once":                           {func(*fakeVM) {}, Stop{Force: true}, []string{"kill"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			d.set = tt.set
			r := startSupervisor(t, d)
			v := <-d.started
			if _, err := r.client.Status(t.Context(), WaitServices); err != nil {
				t.Fatal(err)
			}
			if err := r.client.Stop(t.Context(), tt.how); err != nil {
				t.Fatal(err)
			}
			if err := <-r.err; err != nil {
				t.Errorf("Run ended with %v", err)
			}
			heard := slices.DeleteFunc(v.asked(), func(s string) bool { return strings.HasPrefix(s, "services") || s == "clock" })
			if !slices.Equal(heard, tt.heard) {
				t.Errorf("the guest heard %q, want %q", heard, tt.heard)
			}
		})
	}
}

func TestSocketsAreForTheirOwnerOnly(t *testing.T) {
	r := startSupervisor(t, newDriver(t))
	dir, _ := r.client.runDir()
	for _, name := range []string{apiSocket, sshSocket} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestInterruptedSupervisorStopsItsMachineGracefully(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	v := <-d.started
	r.cancel()
	if err := <-r.err; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if !slices.Contains(v.asked(), "shutdown") || slices.Contains(v.asked(), "kill") {
		t.Errorf("the guest heard %q", v.asked())
	}
}

func TestRebootByTheGuestUsesCurrentSettings(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	(<-d.started).end(hypervisor.Exit{Reason: hypervisor.Rebooted})
	second := <-d.started
	st, err := r.client.Status(t.Context(), WaitReady)
	if err != nil || st.Reboots != 1 {
		t.Errorf("status %+v, %v; want one reboot", st, err)
	}
	r.mu.Lock()
	if r.boots != 2 {
		t.Errorf("prepared %d times", r.boots)
	}
	r.mu.Unlock()
	second.end(hypervisor.Exit{Reason: hypervisor.PoweredOff})
	if err := <-r.err; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestCrashEndsTheSupervisorWithItsCause(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	boom := errors.New("triple fault")
	(<-d.started).end(hypervisor.Exit{Reason: hypervisor.Crashed, Err: boom})
	if err := <-r.err; !errors.Is(err, boom) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestGuestThatCannotBecomeReadySaysWhy(t *testing.T) {
	d := newDriver(t)
	d.guestStatus = guest.Status{Fault: &fault.Wire{Message: "no root device", Remedy: "plug it in"}}
	r := startSupervisor(t, d)
	err := <-r.err
	if err == nil || !strings.Contains(err.Error(), "no root device") {
		t.Errorf("Run ended with %v", err)
	}
	var advice interface{ Remedy() string }
	if !errors.As(err, &advice) || advice.Remedy() != "the machine says: plug it in" {
		t.Errorf("the agent's remedy is lost: %v", advice)
	}
	if v := <-d.started; !slices.Contains(v.asked(), "kill") {
		t.Errorf("the machine was left running")
	}
}

func TestRunReturnsTheErrorOfStart(t *testing.T) {
	d := newDriver(t)
	d.startErr = errors.New("no such device")
	if err := <-startSupervisor(t, d).err; !errors.Is(err, d.startErr) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestServicesAreAppliedAtBootAndOnDemand(t *testing.T) {
	d := newDriver(t)
	d.badService = "typo"
	r := startSupervisor(t, d, "db", "typo")
	st, err := r.client.Status(t.Context(), WaitServices)
	if err != nil || len(st.Services) != 2 || st.Services[1].Error == "" {
		t.Fatalf("status %+v, %v", st, err)
	}
	states, err := r.client.ApplyServices(t.Context(), []string{"db"})
	if err != nil || len(states) != 1 || !states[0].Active {
		t.Errorf("applying gave %+v, %v", states, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.settled) != 2 || !slices.Equal(r.settled[0], []string{"db"}) || !slices.Equal(r.settled[1], []string{"db"}) {
		t.Errorf("taken services: %q", r.settled)
	}
}

// at returns a run directory that is always the same.
func at(dir string) func() (string, error) {
	return func() (string, error) { return dir, nil }
}

func TestStopEndsABootThatPrepares(t *testing.T) {
	hangs := make(chan struct{})
	defer close(hangs)
	preparing := make(chan struct{})
	s := newSupervisor(Options{Driver: newDriver(t), Prepare: func(context.Context) (Boot, error) {
		close(preparing)
		<-hangs // as a dead file system does
		return Boot{}, nil
	}})
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	<-preparing
	s.stop(t.Context(), Stop{Force: true})
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}
