//go:build linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/fault"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
)

// longPoll is how long a request waits for readiness before it is answered with the current
// status. The client then asks again.
const longPoll = 20 * time.Second

// control serves the control API. It is safe for concurrent use.
type control struct {
	log *slog.Logger

	mu      sync.Mutex
	status  guest.Status
	settled chan struct{} // closed once the machine is ready or cannot become ready

	wakes chan struct{} // gets an element after the host has slept, if there is room

	// The following are nil before the machine's root is mounted.
	initState func(context.Context) string
	services  services
	shutdown  func(ctx context.Context, reboot bool) error
}

// services is the part of initsys.Services that the control API uses.
type services interface {
	Apply(ctx context.Context, want []string) ([]guest.ServiceState, error)
}

func newControl(log *slog.Logger, init string) *control {
	return &control{
		log:     log,
		status:  guest.Status{Init: init, Hello: hello()},
		settled: make(chan struct{}),
		wakes:   make(chan struct{}, 1),
	}
}

// settle marks the machine as ready, or records why it cannot become ready. Call it once.
func (c *control) settle(problem error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Ready = problem == nil
	if problem != nil {
		w := fault.ToWire(problem)
		c.status.Fault = &w
	}
	close(c.settled)
}

// setAddress sets the address in the status.
func (c *control) setAddress(n *guest.Network) {
	address, _, _ := strings.Cut(n.Address, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Address = address
}

// handler routes the control API.
func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", c.getStatus)
	mux.HandleFunc("PUT /v1/clock", c.putClock)
	if c.services != nil {
		mux.HandleFunc("PUT /v1/services", c.putServices)
	}
	if c.shutdown != nil {
		mux.HandleFunc("POST /v1/shutdown", c.postShutdown)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		jsonhttp.Fail(w, http.StatusNotFound, fmt.Errorf("this agent does not support %s %s", r.Method, r.URL.Path))
	})
	return http.MaxBytesHandler(mux, 1<<20)
}

func (c *control) getStatus(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("wait") == "ready" {
		select {
		case <-c.settled:
		case <-r.Context().Done():
		case <-time.After(longPoll):
		}
	}
	c.mu.Lock()
	s := c.status
	c.mu.Unlock()
	if c.initState != nil {
		s.InitState = c.initState(r.Context())
	}
	s.Disk = rootDisk()
	jsonhttp.Answer(w, s)
}

func (c *control) putClock(w http.ResponseWriter, r *http.Request) {
	var body guest.Clock
	if !jsonhttp.Decode(w, r, &body) {
		return
	}
	if off := setClock(c.log, body.Time); off > sleepStep {
		select {
		case c.wakes <- struct{}{}:
		default: // the previous one was not received yet
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *control) putServices(w http.ResponseWriter, r *http.Request) {
	var body guest.Services
	if !jsonhttp.Decode(w, r, &body) {
		return
	}
	states, err := c.services.Apply(r.Context(), body.Want)
	if err != nil {
		jsonhttp.Fail(w, http.StatusInternalServerError, err)
		return
	}
	jsonhttp.Answer(w, states)
}

// orderDeadline bounds how long an init may take to accept a shutdown.
const orderDeadline = 30 * time.Second

func (c *control) postShutdown(w http.ResponseWriter, r *http.Request) {
	var body guest.Shutdown
	if !jsonhttp.Decode(w, r, &body) {
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_ = http.NewResponseController(w).Flush() // the machine may end before the handler returns
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), orderDeadline)
		defer cancel()
		if err := c.shutdown(ctx, body.Reboot); err != nil {
			c.log.Error("init did not accept the request to shut down", "err", err)
		}
	}()
}

// rootDisk returns how much room the root file system has, or nil if that is unknown.
func rootDisk() *guest.Disk {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil || fs.Blocks == 0 {
		return nil
	}
	return &guest.Disk{Size: int64(fs.Blocks) * fs.Bsize, Free: int64(fs.Bavail) * fs.Bsize, FreeInodes: fs.Ffree}
}

func hello() guest.Hello {
	h := guest.Hello{Version: Version}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Release = unix.ByteSliceToString(u.Release[:])
	}
	id, _ := readOptional("/proc/sys/kernel/random/boot_id")
	if len(id) >= 36 {
		h.BootID = id[:36]
	}
	return h
}

// clockTolerance is how far the guest's clock may be off before the agent sets it: smaller
// steps would disturb programs more than they help.
const clockTolerance = 100 * time.Millisecond

// sleepStep is by how much the guest's clock must be behind to count as a sleep of the host
// or a pause of the machine; drift is smaller. The supervisor, which detects sleep by the
// host's own clocks, then sends the time.
const sleepStep = 2 * time.Second

// setClock steps the clock if it is off, and returns by how much.
func setClock(log *slog.Logger, now time.Time) time.Duration {
	off := time.Until(now)
	if now.IsZero() || off.Abs() <= clockTolerance {
		return 0
	}
	ts := unix.NsecToTimespec(now.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		log.Warn("cannot set the clock", "err", err)
		return 0
	}
	log.Info("clock set", "duration", off.Round(time.Millisecond))
	return off
}
