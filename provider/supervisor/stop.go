package supervisor

import (
	"context"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// Timeouts of a graceful stop. DefaultGrace is for the image's init to stop its services;
// the user may choose another. requestTime is long because an emulated guest on a busy
// host answers slowly, and a guest that is killed loses what it has not written.
const (
	DefaultGrace  = 60 * time.Second
	requestTime   = 15 * time.Second // for the agent's answer
	buttonTime    = 5 * time.Second  // for the hypervisor to press the power button
	powerOffTime  = 10 * time.Second // after the power button
	killTime      = 10 * time.Second
	stopTotalSlop = requestTime + buttonTime + powerOffTime + killTime
)

// Stop is the body of POST /v1/stop.
type Stop struct {
	Force bool          `json:"force,omitempty"` // cut the power
	Grace time.Duration `json:"grace,omitempty"` // for the init, in nanoseconds; 0: DefaultGrace
}

// stop ends the machine. It asks the agent, then presses the power button, then cuts the
// power, each with its timeout. It returns when the machine has ended.
func (s *supervisor) stop(ctx context.Context, how Stop) {
	s.mu.Lock()
	if !s.isStopping() {
		close(s.stopped)
	}
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
		if s.requestShutdown(ctx, client) && waitGone(ctx, vm, how.Grace) {
			return
		}
		s.log.Warn("the guest did not shut down in time; pressing the power button")
		if pressButton(ctx, vm) && waitGone(ctx, vm, powerOffTime) {
			return
		}
		s.log.Warn("the guest ignored the power button; cutting the power")
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	if err := vm.Kill(ctx); err != nil {
		s.log.Error("cannot kill the machine", "err", err)
	}
}

// requestShutdown requests a shutdown from the agent and reports whether the agent accepted.
func (s *supervisor) requestShutdown(ctx context.Context, client *guest.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := client.Shutdown(ctx, guest.Shutdown{}); err != nil {
		s.log.Warn("the agent did not accept the request to shut down", "err", err)
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

// pressButton reports whether the hypervisor has pressed the power button. One that hangs
// must not keep the machine from being killed.
func pressButton(ctx context.Context, vm hypervisor.VM) bool {
	ctx, cancel := context.WithTimeout(ctx, buttonTime)
	defer cancel()
	return vm.PowerButton(ctx) == nil
}
