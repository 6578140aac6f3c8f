package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/printable"
)

// missedBeats is how many beats in a row a guest may not answer before it counts as unreachable.
// One or two are missed by a guest that is emulated on a busy host.
const missedBeats = 3

// UnreachableError reports a machine that was ready, but whose agent does not answer: it was
// killed, or the guest or its hypervisor hangs or is paused.
type UnreachableError struct {
	Since time.Time // when the agent last answered
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the machine has been unreachable since %s: its agent does not answer", printable.Clock(e.Since))
}

// notRunning returns why a machine in this state can do nothing now.
func (st Status) notRunning() error {
	if st.State == StateUnreachable {
		return &UnreachableError{Since: st.Heard}
	}
	return errors.New("the machine is " + st.Description())
}

// answered records an answer of the guest to a beat.
func (s *supervisor) answered(found guest.Status) {
	s.missed = 0
	back := false
	s.update(func(st *Status) {
		st.Address, st.Heard = ipAddress(found.Address), time.Now()
		if back = st.State == StateUnreachable; back {
			st.State = StateRunning
		}
		if st.State == StateRunning {
			st.Problem = diskProblem(found.Disk)
		}
	})
	if back {
		s.log.Info("the agent answers again")
	}
}

// unanswered records that the guest did not answer a beat. A guest that becomes unreachable so
// loses its connections: what waits for them fails, and the next use dials again.
func (s *supervisor) unanswered(client *guest.Client) {
	if s.missed++; s.missed < missedBeats {
		return
	}
	lost := false
	s.update(func(st *Status) {
		if lost = st.State == StateRunning; lost {
			st.State = StateUnreachable
		}
	})
	if !lost {
		return
	}
	s.log.Warn("the machine is unreachable: its agent does not answer")
	client.Close()
	if conn := s.proxy.release(); conn != nil {
		_ = conn.Close()
	}
}

// whileReachable returns a context that ends with an [UnreachableError] when the guest is
// unreachable. Call stop when it is no longer needed.
func (s *supervisor) whileReachable(ctx context.Context) (reachable context.Context, stop func()) {
	reachable, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			s.mu.Lock()
			status, changed := s.status, s.changed
			s.mu.Unlock()
			if status.State == StateUnreachable {
				cancel(status.notRunning())
			}
			select {
			case <-changed:
			case <-reachable.Done():
				return
			}
		}
	}()
	return reachable, func() { cancel(nil) }
}
