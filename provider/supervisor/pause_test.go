package supervisor

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func noBoot(context.Context) (Boot, error) { return Boot{}, nil }

// until waits until the status fulfils a condition.
func (s *supervisor) until(t *testing.T, what string, fulfilled func(Status) bool) Status {
	t.Helper()
	for {
		s.mu.Lock()
		status, changed := s.status, s.changed
		s.mu.Unlock()
		if fulfilled(status) {
			return status
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("the status is %+v, want %s", status, what)
		}
	}
}

func TestMachineIsPausedWhileTheHostsDiskIsFull(t *testing.T) {
	d := newDriver(t)
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	var free atomic.Int64
	s.look, s.free = time.Millisecond, func(string) (int64, error) { return free.Load(), nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	v := <-d.started
	s.until(t, "running", func(st Status) bool { return st.State == StateRunning })

	v.setPaused(&hypervisor.DiskError{Path: "/m/dev/rootfs.ext4", Full: true, Reason: "No space left on device"})
	st := s.until(t, "paused", func(st Status) bool { return st.State == StatePaused })
	if want := "the host's disk is full (/m/dev, 0 B free); the machine continues when 64.0 MiB are free"; st.Problem != want {
		t.Errorf("the problem is %q, want %q", st.Problem, want)
	}
	if !st.Silent() || st.Description() != "paused: "+st.Problem {
		t.Errorf("status %+v", st)
	}
	for _, condition := range []string{WaitReady, WaitServices} {
		if got := s.await(t.Context(), condition); got.State != StatePaused {
			t.Errorf("waiting for %q ended with %+v", condition, got)
		}
	}
	free.Store(1 << 20)
	s.until(t, "the new figure", func(st Status) bool { return strings.Contains(st.Problem, "1.0 MiB free") })
	if asked := strings.Join(v.asked(), " "); strings.Contains(asked, "resume") {
		t.Errorf("it was resumed without room: %s", asked)
	}
	free.Store(1 << 30)
	st = s.until(t, "running", func(st Status) bool { return st.State == StateRunning })
	if st.Problem != "" {
		t.Errorf("a running machine has the problem %q", st.Problem)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestPausedMachineCanBeStopped(t *testing.T) {
	d := newDriver(t)
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	s.look, s.free = time.Millisecond, func(string) (int64, error) { return 0, nil }
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	v := <-d.started
	s.until(t, "running", func(st Status) bool { return st.State == StateRunning })
	v.setPaused(&hypervisor.DiskError{Path: "/m/dev/rootfs.ext4", Full: true})
	s.until(t, "paused", func(st Status) bool { return st.State == StatePaused })
	s.stop(t.Context(), Stop{Force: true})
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
	if st := s.snapshot(); st.State != StateStopping {
		t.Errorf("the state of a machine that was stopped is %q", st.State)
	}
}

func TestMachineThatPausesWhileItBootsIsStillBooting(t *testing.T) {
	d := newDriver(t)
	d.says(guest.Status{})
	d.set = func(v *fakeVM) {
		v.pause = &hypervisor.DiskError{Path: "/m/rootfs.ext4", Reason: "Disk quota exceeded"}
	}
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	s.look = time.Millisecond
	go func() { _ = s.run(t.Context()) }()
	<-d.started
	s.until(t, "booting after a first attempt to resume", func(st Status) bool { return st.State == StateBooting && st.Problem == "" })
	d.says(guest.Status{Ready: true})
	s.until(t, "running", func(st Status) bool { return st.State == StateRunning })
}

func TestTimeInWhichABootIsPausedDoesNotCount(t *testing.T) {
	d := newDriver(t)
	d.says(guest.Status{})
	d.set = func(v *fakeVM) { v.pause = &hypervisor.DiskError{Path: "/m/rootfs.ext4", Full: true} }
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	var free atomic.Int64
	s.readyTime, s.look, s.free = 50*time.Millisecond, time.Millisecond, func(string) (int64, error) { return free.Load(), nil }
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	<-d.started
	s.until(t, "paused", func(st Status) bool { return st.State == StatePaused })
	time.Sleep(4 * s.readyTime)
	select {
	case err := <-ended:
		t.Fatalf("the machine ended while it was paused: %v", err)
	default:
	}
	d.says(guest.Status{Ready: true})
	free.Store(1 << 30)
	s.until(t, "running", func(st Status) bool { return st.State == StateRunning })
}
