package supervisor

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/guest"
)

const (
	// beatInterval is how often the guest is looked after.
	beatInterval = 10 * time.Second
	// sleepInterval is how soon it is noticed that the host has slept.
	sleepInterval = time.Second
	// sleepTolerance is by how much the host's clock may run away from its monotonic one
	// before that counts as sleep: adjustments of the time are smaller.
	sleepTolerance = 500 * time.Millisecond
)

// tend waits until the guest is ready, then keeps it so until alive ends. It fails when
// the guest cannot become ready.
//
// Virtualization.framework resets a guest that reboots without telling anybody: the
// machine goes on with what it was booted with, and has to become ready anew.
func (s *supervisor) tend(alive context.Context, client *guest.Client, boot Boot) error {
	want := boot.Services
	for {
		bootID, err := s.awaitReady(alive, client)
		if err != nil {
			return err
		}
		if !s.attend(alive, client, bootID, want) || s.isStopping() {
			return nil
		}
		s.log.Info("the guest has reset itself")
		s.update(func(st *Status) {
			*st = Status{State: StateBooting, PID: os.Getpid(), VMPID: st.VMPID, Started: time.Now(), Reboots: st.Reboots + 1}
		})
		s.proxy.check(alive) // a session may have dialled the new boot already
		s.services.Lock()
		want = s.want
		s.services.Unlock()
	}
}

// awaitReady waits for the guest and says so. It answers the id of the guest's boot.
func (s *supervisor) awaitReady(alive context.Context, client *guest.Client) (bootID string, err error) {
	ready, cancel := context.WithTimeoutCause(alive, readyTimeout,
		fmt.Errorf("the agent did not answer within %v", readyTimeout))
	defer cancel()
	found, err := client.WaitReady(ready)
	if err != nil {
		return "", err
	}
	s.update(func(st *Status) { st.State, st.Ready, st.Address = StateRunning, time.Now(), found.Address })
	debug.FreeOSMemory() // a boot needs much more than the rest of a machine's life
	s.log.Info("ready", "after", time.Since(s.snapshot().Started).Round(time.Millisecond))
	if s.opts.Ready != nil {
		s.opts.Ready()
		s.opts.Ready = nil
	}
	return found.Hello.BootID, nil
}

// attend keeps services and clock of one boot of the guest until alive ends, or until
// the guest has reset itself.
func (s *supervisor) attend(alive context.Context, client *guest.Client, bootID string, want []string) (reset bool) {
	ctx, cancel := context.WithCancel(alive)
	var g errgroup.Group
	g.Go(func() error { s.applyServices(ctx, client, want); return nil })
	reset = s.keepClock(ctx, client, bootID)
	cancel()
	_ = g.Wait() // nothing in it fails
	return reset
}

// keepClock sets the guest's clock until ctx ends or the guest has reset itself: a guest
// that slept with its host or whose init skips time synchronisation would drift.
func (s *supervisor) keepClock(ctx context.Context, client *guest.Client, bootID string) (reset bool) {
	tick := time.NewTicker(s.clock.look)
	defer tick.Stop()
	looked := s.clock.now()
	due, beaten := true, looked
	for {
		now := s.clock.now()
		woke := slept(now.wall.Sub(looked.wall), now.monotonic-looked.monotonic)
		looked = now
		if woke {
			s.log.Info("the host has slept")
			client.Close() // connections may not have lived through it
		}
		if woke || due || now.monotonic-beaten.monotonic >= beatInterval {
			due, beaten = false, now
			if s.beat(ctx, client, bootID) {
				return true
			}
		}
		if woke {
			s.proxy.check(ctx)
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.proxy.lost: // why may be that the guest has reset itself
			due = true
		case <-tick.C:
		}
	}
}

// clock has the host's two clocks.
type clock struct {
	now  func() moment
	look time.Duration // pause between two looks
}

// moment is what the clocks show.
type moment struct {
	wall      time.Time
	monotonic time.Duration // since any moment
}

func hostClock() clock {
	begin := time.Now()
	return clock{look: sleepInterval, now: func() moment {
		now := time.Now()
		return moment{wall: now.Round(0), monotonic: now.Sub(begin)}
	}}
}

// slept tells from how far the wall clock and the monotonic clock have come whether the
// host slept between: the monotonic one stands still then. The agent, which has no such
// clock, draws the same conclusion from how far its time was behind (agent.sleepStep).
func slept(wall, monotonic time.Duration) bool { return (wall - monotonic).Abs() > sleepTolerance }

// beat gives the guest the time, and tells whether it is another boot than the one with
// the id.
func (s *supervisor) beat(ctx context.Context, client *guest.Client, bootID string) (reset bool) {
	ctx, cancel := context.WithTimeout(ctx, beatInterval)
	defer cancel()
	// Asked first, for the answer may take long: the time would be an old one by then.
	found, err := client.Status(ctx)
	if err == nil {
		err = client.SetClock(ctx, s.clock.now().wall)
	}
	if err != nil {
		if context.Cause(ctx) != context.Canceled {
			s.log.Warn("the guest does not take the time", "err", err)
		}
		return false
	}
	if found.Hello.BootID != bootID {
		return true
	}
	if found.Address != s.snapshot().Address {
		s.update(func(st *Status) { st.Address = found.Address })
	}
	return false
}
