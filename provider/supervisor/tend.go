package supervisor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/size"
)

const (
	// beatInterval is how often the supervisor sets the guest's clock and reads its status.
	beatInterval = 10 * time.Second
	// sleepInterval is how often the supervisor checks whether the host has slept.
	sleepInterval = time.Second
	// sleepTolerance is by how much the host's wall clock may differ from its monotonic
	// clock before that counts as sleep: adjustments of the time are smaller.
	sleepTolerance = 500 * time.Millisecond
)

// tend waits until the guest is ready, then maintains it until alive ends. It fails if
// the guest does not become ready.
//
// Virtualization.framework resets a guest that reboots without a report: the machine
// continues with the settings of its first boot, and tend waits until it is ready again.
func (s *supervisor) tend(alive context.Context, client *guest.Client, boot Boot) error {
	want := boot.Services
	for {
		bootID, err := s.awaitReady(alive, client)
		if err != nil {
			return err
		}
		if s.isStopping() || !s.attend(alive, client, bootID, want) || s.isStopping() {
			return nil
		}
		s.log.Info("the guest rebooted")
		if _, again := s.resets.add(s.snapshot().Ready, time.Now()); !again {
			return s.resets.err(nil)
		}
		s.update(func(st *Status) {
			*st = Status{State: StateBooting, PID: os.Getpid(), VMPID: st.VMPID, Started: time.Now(), Reboots: st.Reboots + 1}
		})
		s.proxy.check(alive) // a session may already have dialled the new boot
		s.services.Lock()
		want = s.want
		s.services.Unlock()
	}
}

// awaitReady waits until the guest is ready, updates the status, and returns the ID of
// the guest's boot.
func (s *supervisor) awaitReady(alive context.Context, client *guest.Client) (bootID string, err error) {
	found, err := s.waitReady(alive, client)
	if err != nil {
		return "", err
	}
	stopping := false
	s.update(func(st *Status) {
		if stopping = st.State == StateStopping; stopping {
			return
		}
		st.State, st.Ready, st.Address = StateRunning, time.Now(), ipAddress(found.Address)
		st.Heard = st.Ready
	})
	if stopping {
		return found.Hello.BootID, nil
	}
	debug.FreeOSMemory() // a boot needs much more memory than a running machine
	s.log.Info("ready", "duration", time.Since(s.snapshot().Started).Round(time.Millisecond))
	if s.opts.Ready != nil {
		s.opts.Ready()
		s.opts.Ready = nil
	}
	return found.Hello.BootID, nil
}

// waitReady waits until the guest is ready. After a pause, the guest has the full time again.
func (s *supervisor) waitReady(alive context.Context, client *guest.Client) (guest.Status, error) {
	for {
		begin := time.Now()
		ready, cancel := context.WithTimeoutCause(alive, s.readyTime,
			fmt.Errorf("the agent did not answer within %v", s.readyTime))
		found, err := client.WaitReady(ready)
		cancel()
		s.mu.Lock()
		paused := s.paused.After(begin)
		s.mu.Unlock()
		if err == nil || alive.Err() != nil || !paused {
			return found, err
		}
	}
}

// attend applies the services and maintains the clock of one boot of the guest, until
// alive ends or the guest reboots.
func (s *supervisor) attend(alive context.Context, client *guest.Client, bootID string, want []string) (reset bool) {
	ctx, cancel := context.WithCancel(alive)
	var g errgroup.Group
	g.Go(func() error { s.applyServices(ctx, client, want); return nil })
	reset = s.keepClock(ctx, client, bootID)
	cancel()
	_ = g.Wait() // always nil
	return reset
}

// keepClock sets the guest's clock until ctx ends or the guest reboots. The clock of a
// guest that slept with its host, or whose init does not synchronise time, would be wrong.
func (s *supervisor) keepClock(ctx context.Context, client *guest.Client, bootID string) (reset bool) {
	tick := time.NewTicker(s.clock.look)
	defer tick.Stop()
	looked := s.clock.now()
	due, beaten := true, looked
	s.missed = 0
	for {
		now := s.clock.now()
		woke := slept(now.wall.Sub(looked.wall), now.monotonic-looked.monotonic)
		looked = now
		if woke {
			s.log.Info("the host was asleep")
			client.Close() // its connections may be dead
		}
		if s.snapshot().State == StatePaused {
			due = true // its clock stands still; it cannot answer either
		} else if woke || due || now.monotonic-beaten.monotonic >= beatInterval {
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
		case <-s.proxy.lost: // perhaps because the guest rebooted
			due = true
		case <-tick.C:
		}
	}
}

// clock reads the host's wall clock and monotonic clock.
type clock struct {
	now  func() moment
	look time.Duration // between two reads
}

// moment is one reading of both clocks.
type moment struct {
	wall      time.Time
	monotonic time.Duration // since an arbitrary moment
}

func hostClock() clock {
	begin := time.Now()
	return clock{look: sleepInterval, now: func() moment {
		now := time.Now()
		return moment{wall: now.Round(0), monotonic: now.Sub(begin)}
	}}
}

// slept reports whether the host slept while the two clocks advanced this far: the
// monotonic clock stops during sleep. The agent has no such clock; it detects sleep by how
// far its time was behind (agent.sleepStep).
func slept(wall, monotonic time.Duration) bool { return (wall - monotonic).Abs() > sleepTolerance }

// beat sets the guest's clock, and reports whether the guest's boot is no longer the one
// with this ID.
func (s *supervisor) beat(ctx context.Context, client *guest.Client, bootID string) (reset bool) {
	ctx, cancel := context.WithTimeout(ctx, s.beatTime)
	defer cancel()
	// Read the status first: its answer may take long, and the time would be stale by then.
	found, err := client.Status(ctx)
	if err != nil {
		if context.Cause(ctx) != context.Canceled {
			s.log.Warn("the agent does not answer", "err", err)
			s.unanswered(client)
		}
		return false
	}
	if found.Hello.BootID != bootID {
		return true
	}
	s.answered(found)
	if err := client.SetClock(ctx, s.clock.now().wall); err != nil && context.Cause(ctx) != context.Canceled {
		s.log.Warn("cannot set the guest's clock", "err", err)
	}
	return false
}

// ipAddress returns an address as a guest says it, or "" if it is none.
func ipAddress(text string) string {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return address.WithZone("").String()
}

// A machine's disk counts as full when it has less than this free, or less than this share of
// a small one.
const (
	scarce      = 64 * size.MiB
	scarceShare = 100
)

// diskProblem says what a guest's disk lacks, "" if nothing.
func diskProblem(d *guest.Disk) string {
	switch {
	case d == nil:
	case d.Free < min(scarce, d.Size/scarceShare):
		return fmt.Sprintf("the machine's disk is full (%s of %s free)", size.Measured(max(0, d.Free)), size.Measured(d.Size))
	case d.FreeInodes == 0:
		return "the machine's disk has no room for more files (no free inodes)"
	}
	return ""
}
