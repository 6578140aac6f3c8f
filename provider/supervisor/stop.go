package supervisor

import (
	"context"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// Times of a graceful stop. The first covers the image's init stopping its services,
// which a person may shorten. The second is long because an emulated guest on a busy host
// is slow to answer, and one that counts as deaf may lose what it has not written.
const (
	DefaultGrace  = 60 * time.Second
	requestTime   = 15 * time.Second // for the agent to take the request
	powerOffTime  = 10 * time.Second // after the power button
	killTime      = 10 * time.Second
	stopTotalSlop = requestTime + powerOffTime + killTime
)

// Stop is the body of POST /v1/stop.
type Stop struct {
	Force bool          `json:"force,omitempty"` // cut the power
	Grace time.Duration `json:"grace,omitempty"` // nanoseconds for the init; 0: DefaultGrace
}

// stop ends the machine: the agent asks the init, then the power button, then the
// power is cut, each with its time. It returns when the machine is gone.
func (s *supervisor) stop(ctx context.Context, how Stop) {
	s.mu.Lock()
	s.stopping = true
	vm, client := s.vm, s.client
	s.mu.Unlock()
	if vm == nil {
		return
	}
	s.update(func(st *Status) { st.State = StateStopping })
	if how.Grace == 0 {
		how.Grace = DefaultGrace
	}
	if !how.Force {
		if s.ask(ctx, client) && waitGone(ctx, vm, how.Grace) {
			return
		}
		s.log.Warn("the guest does not shut down; pressing the power button")
		if err := vm.PowerButton(ctx); err == nil && waitGone(ctx, vm, powerOffTime) {
			return
		}
		s.log.Warn("the guest ignores the power button; cutting the power")
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	if err := vm.Kill(ctx); err != nil {
		s.log.Error("cannot end the machine", "err", err)
	}
}

// ask tells the agent to shut the guest down and reports whether it took the request.
func (s *supervisor) ask(ctx context.Context, client *guest.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := client.Shutdown(ctx, guest.Shutdown{}); err != nil {
		s.log.Warn("the agent does not take the request to shut down", "err", err)
		return false
	}
	return true
}

func waitGone(ctx context.Context, vm hypervisor.VM, d time.Duration) bool {
	select {
	case <-vm.Done():
		return true
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return false
	}
}
