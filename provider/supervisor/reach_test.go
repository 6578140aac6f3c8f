package supervisor

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// gate is the way to a guest, which can be closed.
type gate struct {
	open  guest.DialFunc
	shut  atomic.Pointer[guest.DialFunc] // used instead
	dials atomic.Int32
}

func (g *gate) dial(ctx context.Context, port uint32) (net.Conn, error) {
	g.dials.Add(1)
	if shut := g.shut.Load(); shut != nil {
		return (*shut)(ctx, port)
	}
	return g.open(ctx, port)
}

// Guests that do not answer.
var (
	refusal = guest.DialFunc(func(context.Context, uint32) (net.Conn, error) { return nil, errors.New("refused") })
	silence = guest.DialFunc(func(ctx context.Context, _ uint32) (net.Conn, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	// A guest that is paused takes what is sent, and never answers.
	paused = guest.DialFunc(func(context.Context, uint32) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			for buf := make([]byte, 1024); ; {
				if _, err := far.Read(buf); err != nil {
					return
				}
			}
		}()
		return near, nil
	})
)

// advance advances both clocks.
func (s *sleeper) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.wall = s.now.wall.Add(d)
	s.now.monotonic += d
}

func TestGuestThatMissesBeatsIsUnreachableUntilItAnswers(t *testing.T) {
	for name, shut := range map[string]guest.DialFunc{"refuses": refusal, "hangs": silence, "is paused": paused} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			vm, err := d.Start(t.Context(), hypervisor.Config{})
			if err != nil {
				t.Fatal(err)
			}
			way := &gate{open: vm.Dial}
			client := guest.NewClient(way.dial)
			host := &sleeper{now: moment{wall: time.Now()}}
			s := newSupervisor(Options{})
			s.clock = clock{now: host.read, look: time.Millisecond}
			s.beatTime = 50 * time.Millisecond
			s.proxy.dial = newGuestSSH(t).dial
			s.update(func(st *Status) { st.State, st.ServicesSettled = StateRunning, true })
			ssh, err := s.proxy.connection()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan bool, 1)
			go func() { ended <- s.keepClock(ctx, client, "") }()
			defer func() { cancel(); <-ended }()
			eventually(t, "the first beat is answered", func() bool { return !s.snapshot().Heard.IsZero() })
			heard := s.snapshot().Heard

			way.shut.Store(&shut)
			client.Close()
			for range missedBeats {
				if st := s.snapshot(); st.State != StateRunning {
					t.Fatalf("%s too early", st.State)
				}
				before := way.dials.Load()
				host.advance(beatInterval)
				eventually(t, "the next beat is missed", func() bool { return way.dials.Load() > before })
			}
			eventually(t, "the guest is unreachable", func() bool { return s.snapshot().State == StateUnreachable })
			if st := s.snapshot(); !st.Heard.Equal(heard) {
				t.Errorf("unreachable since %v, but it answered at %v", st.Heard, heard)
			}
			_ = ssh.Wait() // its sessions end too
			for _, condition := range []string{"", WaitReady, WaitServices} {
				if st := s.await(t.Context(), condition); st.State != StateUnreachable {
					t.Errorf("waiting for %q gave %s", condition, st.State)
				}
			}
			answer := httptest.NewRecorder()
			s.handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPut, "/v1/services", strings.NewReader(`{"want":["db"]}`)))
			if answer.Code != http.StatusConflict || !strings.Contains(answer.Body.String(), "unreachable since") {
				t.Errorf("services: %d %s", answer.Code, answer.Body)
			}

			back := make(chan Status, 1)
			go func() { back <- s.await(t.Context(), WaitReachable) }()
			way.shut.Store(nil)
			host.advance(beatInterval)
			if st := <-back; st.State != StateRunning || !st.Heard.After(heard) {
				t.Errorf("back: %+v", st)
			}
		})
	}
}

// unreachable returns a supervisor of a machine that becomes unreachable soon.
func unreachable(t *testing.T) (s *supervisor, since time.Time) {
	t.Helper()
	s, since = newSupervisor(Options{}), time.Now()
	s.update(func(st *Status) { st.State, st.Heard = StateRunning, since })
	time.AfterFunc(10*time.Millisecond, func() { s.update(func(st *Status) { st.State = StateUnreachable }) })
	return s, since
}

func TestNothingWaitsForAnUnreachableGuest(t *testing.T) {
	t.Run("services", func(t *testing.T) {
		s, _ := unreachable(t)
		states := s.applyServices(t.Context(), guest.NewClient(paused), []string{"db"})
		if len(states) != 1 || !strings.Contains(states[0].Error, "unreachable since") {
			t.Errorf("states %+v", states)
		}
	})
	t.Run("sessions", func(t *testing.T) {
		s, since := unreachable(t)
		g := &gate{open: silence}
		s.vm = gatedVM{g}
		_, _, _, err := s.dialSSH(t.Context())
		var lost *UnreachableError
		if !errors.As(err, &lost) || !lost.Since.Equal(since) {
			t.Errorf("dialSSH = %v", err)
		}
	})
}

// gatedVM is a machine of which only Dial is used.
type gatedVM struct{ *gate }

func (v gatedVM) Dial(ctx context.Context, port uint32) (net.Conn, error) { return v.dial(ctx, port) }
func (gatedVM) PowerButton(context.Context) error                         { return nil }
func (gatedVM) Kill(context.Context) error                                { return nil }
func (gatedVM) Done() <-chan struct{}                                     { return nil }
func (gatedVM) Exit() hypervisor.Exit                                     { return hypervisor.Exit{} }
func (gatedVM) Paused() error                                             { return nil }
func (gatedVM) Resume(context.Context) error                              { return nil }
func (gatedVM) PID() int                                                  { return 0 }

func TestUnreachableErrorCrossesProcesses(t *testing.T) {
	since := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		jsonhttp.Fail(w, http.StatusConflict, Status{State: StateUnreachable, Heard: since}.notRunning())
	}))
	defer server.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}
	c := &Client{peer: jsonhttp.Peer{Name: "supervisor", HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}}}}
	_, err := c.ApplyServices(t.Context(), nil)
	var lost *UnreachableError
	if !errors.As(err, &lost) || !lost.Since.Equal(since) {
		t.Errorf("ApplyServices = %v", err)
	}
}
