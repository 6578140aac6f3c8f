package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/size"
)

const (
	// pauseLook is how often the supervisor checks whether the hypervisor has paused the
	// machine, and whether it can go on.
	pauseLook = time.Second
	// resumeRoom is the free space at which a machine goes on that was paused because the
	// host's disk was full, in bytes. With less, it would be paused again at once.
	resumeRoom = 64 * size.MiB
	// resumeEvery is how often the supervisor lets a machine try again whose disk has another
	// error, such as a full quota.
	resumeEvery = 10 * time.Second
	// resumeTimeout limits the hypervisor's answer.
	resumeTimeout = 5 * time.Second
)

// watchPause shows in the status that the hypervisor has paused the machine, and resumes it
// when it can go on, until ctx ends.
func (s *supervisor) watchPause(ctx context.Context, vm hypervisor.VM) {
	tick := time.NewTicker(s.look)
	defer tick.Stop()
	var tried time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := vm.Paused()
		if err == nil {
			s.showRunning()
			continue
		}
		why, canGoOn := s.pauseReason(err, time.Since(tried))
		s.showPaused(why)
		if !canGoOn {
			continue
		}
		tried = time.Now()
		resuming, cancel := context.WithTimeout(ctx, resumeTimeout)
		if err := vm.Resume(resuming); err != nil && ctx.Err() == nil {
			s.log.Warn("cannot resume the machine", "err", err)
		}
		cancel()
	}
}

// pauseReason says why a machine is paused, and whether it can go on now. tried is the time
// since the last attempt.
func (s *supervisor) pauseReason(err error, tried time.Duration) (why string, canGoOn bool) {
	var failed *hypervisor.DiskError
	if !errors.As(err, &failed) || !failed.Full {
		return err.Error(), tried >= resumeEvery
	}
	dir := filepath.Dir(failed.Path)
	free, err := s.free(dir)
	if err != nil {
		return fmt.Sprintf("the host's disk is full (%s): %v", dir, err), tried >= resumeEvery
	}
	why = fmt.Sprintf("the host's disk is full (%s, %s free)", dir, size.Measured(free))
	if free >= resumeRoom { // and yet it is: inodes or a quota of a directory may be used up
		return why, tried >= resumeEvery
	}
	return why + "; the machine continues when " + size.Measured(resumeRoom) + " are free", false
}

// showPaused sets the status of a paused machine.
func (s *supervisor) showPaused(why string) {
	s.mu.Lock()
	s.paused = time.Now()
	before := s.status
	s.mu.Unlock()
	if before.State == StateStopping || before.State == StatePaused && before.Problem == why {
		return
	}
	if before.State != StatePaused {
		s.log.Warn("the machine is paused", "reason", why)
	}
	s.update(func(st *Status) {
		if st.State != StateStopping {
			st.State, st.Problem = StatePaused, why
		}
	})
}

// showRunning sets the status of a machine that is no longer paused.
func (s *supervisor) showRunning() {
	if s.snapshot().State != StatePaused {
		return
	}
	s.log.Info("the machine continues")
	s.update(func(st *Status) {
		if st.State != StatePaused {
			return
		}
		st.State, st.Problem = StateRunning, ""
		if st.Ready.IsZero() {
			st.State = StateBooting
		}
	})
}
