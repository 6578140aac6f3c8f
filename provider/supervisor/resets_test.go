package supervisor

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestResetsInARowAreSlowedDownAndEnded(t *testing.T) {
	never, soon, late := -time.Second, time.Second, time.Minute // after the boot became ready
	repeat := func(life time.Duration, n int) []time.Duration { return slices.Repeat([]time.Duration{life}, n) }
	tests := map[string]struct {
		lives  []time.Duration
		pauses []int // seconds
		ends   bool  // after the last
	}{
		"one reset":                         {repeat(never, 1), []int{0}, false},
		"a guest that never becomes ready":  {repeat(never, 5), []int{0, 1, 2, 4, 8}, true},
		"a guest that resets soon":          {repeat(soon, 7), []int{0, 1, 2, 4, 8, 8, 8}, false},
		"a guest that resets soon, forever": {repeat(soon, 20), append([]int{0, 1, 2, 4}, slices.Repeat([]int{8}, 16)...), true},
		"a guest that lives long between":   {[]time.Duration{never, never, late, never, soon}, []int{0, 1, 0, 0, 1}, false},
		"a boot that was ready between":     {[]time.Duration{never, never, never, never, soon, never}, []int{0, 1, 2, 4, 8, 8}, false},
		"a user who reboots now and then":   {repeat(late, 50), slices.Repeat([]int{0}, 50), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := resets{pause: time.Second}
			var pauses []int
			goesOn := true
			for i, life := range tt.lives {
				if !goesOn {
					t.Fatalf("ended after %d resets, want %d", i, len(tt.lives))
				}
				now := time.Now()
				ready := now.Add(-life)
				if life < 0 {
					ready = time.Time{}
				}
				var pause time.Duration
				pause, goesOn = r.add(ready, now)
				pauses = append(pauses, int(pause/time.Second))
			}
			if !slices.Equal(pauses, tt.pauses) || goesOn == tt.ends {
				t.Errorf("pauses %v, ends: %v; want %v, %v", pauses, !goesOn, tt.pauses, tt.ends)
			}
		})
	}
}

// endEach ends each machine as soon as it has started, and counts them.
func (d *fakeDriver) endEach(exit hypervisor.Exit) *atomic.Int32 {
	var n atomic.Int32
	go func() {
		for {
			select {
			case v := <-d.started:
				n.Add(1)
				v.end(exit)
			case <-d.t.Context().Done():
				return
			}
		}
	}()
	return &n
}

func TestGuestThatOnlyResetsIsEndedWithItsLastWords(t *testing.T) {
	d := newDriver(t)
	d.guestStatus = guest.Status{} // never ready
	boots := d.endEach(hypervisor.Exit{Reason: hypervisor.Rebooted, Last: []string{"init: cannot find root", "rebooting"}})
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	s.resets.pause = time.Microsecond
	err := s.run(t.Context())
	var ended *EndError
	if !errors.As(err, &ended) || !strings.Contains(err.Error(), "reset 5 times in a row before it was ready") {
		t.Errorf("run = %v", err)
	}
	if want := "The last lines on its console:\n  init: cannot find root\n  rebooting"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("run = %v, want %q in it", err, want)
	}
	if n := boots.Load(); n != 5 {
		t.Errorf("booted %d times, want 5", n)
	}
}

func TestStopEndsThePauseBetweenResets(t *testing.T) {
	d := newDriver(t)
	d.guestStatus = guest.Status{}
	d.endEach(hypervisor.Exit{Reason: hypervisor.Rebooted})
	s := newSupervisor(Options{Driver: d, Prepare: noBoot})
	s.resets.pause = time.Hour
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	s.until(t, "a pause", func(st Status) bool { return st.Problem != "" })
	s.stop(t.Context(), Stop{Force: true})
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}
