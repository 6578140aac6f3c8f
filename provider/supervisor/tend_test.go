package supervisor

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestGuestThatResetsItselfBecomesReadyAnew(t *testing.T) {
	d := newDriver(t)
	d.says(guest.Status{Ready: true, Address: "192.0.2.1", Hello: guest.Hello{BootID: "first"}})
	vm, err := d.Start(t.Context(), hypervisor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSupervisor(Options{Log: slog.New(slog.DiscardHandler)})
	client := guest.NewClient(vm.Dial)
	ended := make(chan error, 1)
	go func() { ended <- s.tend(t.Context(), client, Boot{Services: []string{"db"}}) }()
	if st := s.await(t.Context(), WaitServices); st.State != StateRunning || st.Address != "192.0.2.1" {
		t.Fatalf("first boot: %+v", st)
	}
	s.applyServices(t.Context(), client, []string{"db", "web"})

	d.says(guest.Status{Ready: true, Address: "192.0.2.2", Hello: guest.Hello{BootID: "second"}})
	s.proxy.lost <- struct{}{}
	for st := s.snapshot(); st.Reboots == 0 || !st.satisfies(WaitServices); st = s.snapshot() {
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case err := <-ended:
			t.Fatalf("given up: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if st := s.snapshot(); st.Reboots != 1 || st.Address != "192.0.2.2" {
		t.Errorf("second boot: %+v", st)
	}
	heard := slices.DeleteFunc((<-d.started).asked(), func(s string) bool { return s == "clock" })
	if want := []string{"services db", "services db,web", "services db,web"}; !slices.Equal(heard, want) {
		t.Errorf("the guest heard %q, want %q", heard, want)
	}
}

func TestSleepIsToldFromAdjustmentsOfTheClock(t *testing.T) {
	tests := map[string]struct {
		wall, monotonic time.Duration
		slept           bool
	}{
		"both clocks go alike":            {time.Second, time.Second, false},
		"the time is adjusted a little":   {1100 * time.Millisecond, time.Second, false},
		"a busy host looks late":          {20 * time.Second, 20 * time.Second, false},
		"the lid was closed":              {8 * time.Hour, time.Second, true},
		"the clock was set an hour back":  {-59 * time.Minute, time.Second, true},
		"a nap shorter than the interval": {2 * time.Second, time.Second, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := slept(tt.wall, tt.monotonic); got != tt.slept {
				t.Errorf("slept = %v", got)
			}
		})
	}
}

func TestConnectionThatDidNotSurviveASleepIsDialledAnew(t *testing.T) {
	g := newGuestSSH(t)
	p := &proxy{dial: g.dial, lost: make(chan struct{}, 1), patience: time.Minute}
	alive, err := p.connection()
	if err != nil {
		t.Fatal(err)
	}
	p.check(t.Context())
	if again, err := p.connection(); err != nil || again != alive {
		t.Fatalf("a connection that answers was given up: %v", err)
	}
	p.patience = time.Millisecond
	g.mu.Lock()
	g.deaf = true
	g.mu.Unlock()
	p.check(t.Context())
	<-p.lost
	if again, err := p.connection(); err != nil || again == alive {
		t.Errorf("the dead connection is still used: %v", err)
	}
	p.reset()
}
