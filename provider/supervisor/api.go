package supervisor

import (
	"context"
	"net/http"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
)

// States in Status.
const (
	StateBooting     = "booting"
	StateRunning     = "running"
	StateUnreachable = "unreachable" // it was ready, but its agent does not answer
	StatePaused      = "paused"      // by the hypervisor; Status.Problem says why
	StateStopping    = "stopping"
	StateStopped     = "stopped"
)

// Conditions that GET /v1/status?wait= waits for.
const (
	WaitReady     = "ready"     // the agent has answered and the user exists
	WaitReachable = "reachable" // WaitReady, and the agent answers now
	WaitServices  = "services"  // each declared service was started or failed
)

// Status is the answer to GET /v1/status.
type Status struct {
	State           string               `json:"state"`
	Problem         string               `json:"problem,omitempty"` // why the machine is paused, or boots again and again
	Started         time.Time            `json:"started"`           // of this boot
	Ready           time.Time            `json:"ready,omitzero"`    // when this boot became ready
	Reboots         int                  `json:"reboots"`           // by the guest, since the supervisor started
	PID             int                  `json:"pid"`               // of the supervisor
	VMPID           int                  `json:"vmPid,omitempty"`   // of the hypervisor
	Heard           time.Time            `json:"heard,omitzero"`    // when the agent last answered; unreachable since then
	Address         string               `json:"address,omitempty"` // the guest's IP address, once it is ready
	Services        []guest.ServiceState `json:"services,omitempty"`
	ServicesSettled bool                 `json:"servicesSettled"`
}

// Silent reports whether the guest has become ready but cannot answer now.
func (st Status) Silent() bool {
	return st.State == StateUnreachable || st.State == StatePaused && !st.Ready.IsZero()
}

// Description is the state, with what is wrong if something is.
func (st Status) Description() string {
	if st.Problem == "" {
		return st.State
	}
	return st.State + ": " + st.Problem
}

func (st Status) satisfies(condition string) bool {
	switch condition {
	case WaitReady:
		return st.Silent() || st.State != StateBooting && st.State != StatePaused
	case WaitReachable:
		return st.State != StateBooting && st.State != StateUnreachable && st.State != StatePaused
	case WaitServices:
		return st.State == StateStopped || st.Silent() || st.State == StateRunning && st.ServicesSettled
	}
	return true
}

// update changes the status and wakes all callers of await.
func (s *supervisor) update(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *supervisor) snapshot() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// await blocks until the status satisfies condition or ctx ends.
func (s *supervisor) await(ctx context.Context, condition string) Status {
	for {
		s.mu.Lock()
		status, changed := s.status, s.changed
		s.mu.Unlock()
		if status.satisfies(condition) {
			return status
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status
		}
	}
}

// handler serves the machine's local API. It needs no authentication: the run directory
// has mode 0700.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		jsonhttp.Answer(w, s.await(r.Context(), r.FormValue("wait")))
	})
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, r *http.Request) {
		var how Stop
		if !jsonhttp.Decode(w, r, &how) {
			return
		}
		// The stop continues if the caller disconnects.
		s.stop(context.WithoutCancel(r.Context()), how)
		jsonhttp.Answer(w, s.snapshot())
	})
	mux.HandleFunc("PUT /v1/services", func(w http.ResponseWriter, r *http.Request) {
		var body guest.Services
		if !jsonhttp.Decode(w, r, &body) {
			return
		}
		// Wait until the list of this boot has been applied.
		if st := s.await(r.Context(), WaitServices); st.State != StateRunning {
			jsonhttp.Fail(w, http.StatusConflict, st.notRunning())
			return
		}
		s.mu.Lock()
		client := s.client
		s.mu.Unlock()
		states := s.applyServices(r.Context(), client, body.Want)
		if st := s.snapshot(); st.State == StateUnreachable {
			jsonhttp.Fail(w, http.StatusConflict, st.notRunning())
			return
		}
		jsonhttp.Answer(w, states)
	})
	return mux
}
