package supervisor

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestGuestThatResetsBecomesReadyAgain(t *testing.T) {
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

// sleeper is a host whose clocks advance on demand.
type sleeper struct {
	mu  sync.Mutex
	now moment
}

func (s *sleeper) read() moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// sleep advances only the wall clock, as a closed lid does.
func (s *sleeper) sleep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.wall = s.now.wall.Add(d)
}

// eventually waits until the condition holds, or fails the test after a generous timeout.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestAfterSleepTheGuestIsRedialledAndItsClockSet(t *testing.T) {
	d := newDriver(t)
	vm, err := d.Start(t.Context(), hypervisor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	v := <-d.started
	var dials atomic.Int32
	client := guest.NewClient(func(ctx context.Context, port uint32) (net.Conn, error) {
		dials.Add(1)
		return vm.Dial(ctx, port)
	})
	host := &sleeper{now: moment{wall: time.Date(2030, 1, 1, 22, 0, 0, 0, time.UTC)}}
	s := newSupervisor(Options{})
	s.clock = clock{now: host.read, look: time.Millisecond}
	g := newGuestSSH(t)
	s.proxy.dial, s.proxy.patience = g.dial, 100*time.Millisecond
	if _, err := s.proxy.connection(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool, 1)
	go func() { ended <- s.keepClock(ctx, client, "") }()
	shows := func(want time.Time) func() bool {
		return func() bool {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.time.Equal(want)
		}
	}
	eventually(t, "the guest has the time", shows(host.read().wall))
	before := dials.Load()
	host.sleep(8 * time.Hour)
	eventually(t, "the guest has the time of the morning", shows(host.read().wall))
	if dials.Load() == before {
		t.Error("the guest was not dialled again")
	}
	g.mu.Lock()
	g.deaf = true // its connection will not survive the next sleep
	g.mu.Unlock()
	host.sleep(time.Hour)
	eventually(t, "the dead connection is closed", func() bool { return s.proxy.current() == nil })
	cancel()
	if <-ended {
		t.Error("a sleep was counted as a reboot")
	}
}

func TestFullDisksAreAProblem(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	tests := map[string]struct {
		disk *guest.Disk
		want string
	}{
		"an old agent":                   {nil, ""},
		"room":                           {&guest.Disk{Size: 8 * gib, Free: gib, FreeInodes: 5}, ""},
		"little room on a small disk":    {&guest.Disk{Size: 100 * mib, Free: 2 * mib, FreeInodes: 5}, ""},
		"a full disk":                    {&guest.Disk{Size: 8 * gib, Free: 12 << 10, FreeInodes: 5}, "the machine's disk is full (12.0 KiB of 8.0 GiB free)"},
		"a full disk, by its reserve":    {&guest.Disk{Size: 8 * gib, Free: -1, FreeInodes: 5}, "the machine's disk is full (0 B of 8.0 GiB free)"},
		"no inodes":                      {&guest.Disk{Size: 8 * gib, Free: gib}, "the machine's disk has no room for more files (no free inodes)"},
		"a disk that claims to be empty": {&guest.Disk{}, "the machine's disk has no room for more files (no free inodes)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := diskProblem(tt.disk); got != tt.want {
				t.Errorf("diskProblem = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSleptIgnoresAdjustmentsOfTheClock(t *testing.T) {
	tests := map[string]struct {
		wall, monotonic time.Duration
		slept           bool
	}{
		"both clocks advance equally":       {time.Second, time.Second, false},
		"the time is adjusted a little":     {1100 * time.Millisecond, time.Second, false},
		"a busy host checks late":           {20 * time.Second, 20 * time.Second, false},
		"the host slept":                    {8 * time.Hour, time.Second, true},
		"the clock was set an hour back":    {-59 * time.Minute, time.Second, true},
		"a sleep shorter than the interval": {2 * time.Second, time.Second, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := slept(tt.wall, tt.monotonic); got != tt.slept {
				t.Errorf("slept = %v", got)
			}
		})
	}
}

func TestConnectionThatDidNotSurviveASleepIsReplaced(t *testing.T) {
	g := newGuestSSH(t)
	p := &proxy{dial: g.dial, lost: make(chan struct{}, 1), patience: time.Minute}
	alive, err := p.connection()
	if err != nil {
		t.Fatal(err)
	}
	p.check(t.Context())
	if again, err := p.connection(); err != nil || again != alive {
		t.Fatalf("a connection that answers was closed: %v", err)
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

func TestAddressesOfGuestsAreParsed(t *testing.T) {
	tests := map[string]struct{ said, want string }{
		"IPv4":               {"10.0.2.15", "10.0.2.15"},
		"IPv6":               {"FD00::1", "fd00::1"},
		"a zone":             {"fe80::1%\x1b[2J", "fe80::1"},
		"nothing":            {"", ""},
		"an escape sequence": {"\x1b[2J10.0.2.15", ""},
		"a name":             {"localhost", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ipAddress(tt.said); got != tt.want {
				t.Errorf("ipAddress(%q) = %q, want %q", tt.said, got, tt.want)
			}
		})
	}
}

func TestGuestsOnlySpeakOfWantedServices(t *testing.T) {
	said := []guest.ServiceState{
		{Name: "db", Error: "failed\nmachine web: running\n"}, {Name: "\x1b[2Jother"}, {Name: "web", Active: true}, {Name: "db"},
	}
	want := []guest.ServiceState{{Name: "db", Error: "failed\n  machine web: running"}, {Name: "web", Active: true}}
	if d := cmp.Diff(want, believable([]string{"db", "web", "cache"}, said)); d != "" {
		t.Errorf("believable mismatch (-want +got):\n%s", d)
	}
}

func TestMachineThatStopsWhileItBootsIsNeverRunning(t *testing.T) {
	d := newDriver(t)
	d.says(guest.Status{})
	d.set = func(v *fakeVM) { v.obeysShutdown = false }
	ready := false
	s := newSupervisor(Options{Driver: d, Prepare: noBoot, Ready: func() { ready = true }})
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	v := <-d.started
	for started := false; !started; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		started = s.vm != nil
		s.mu.Unlock()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop(t.Context(), Stop{})
	}()
	s.until(t, "stopping", func(st Status) bool { return st.State == StateStopping })
	for !slices.Contains(v.asked(), "shutdown") {
		time.Sleep(time.Millisecond)
	}
	d.says(guest.Status{Ready: true})
	time.Sleep(50 * time.Millisecond) // several answers of the agent
	if st := s.snapshot(); st.State != StateStopping || ready {
		t.Errorf("the state is %q, ready: %v", st.State, ready)
	}
	v.end(hypervisor.Exit{Reason: hypervisor.PoweredOff})
	<-stopped
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
	if slices.ContainsFunc(v.asked(), func(s string) bool { return strings.HasPrefix(s, "services") }) {
		t.Errorf("the guest was asked %q", v.asked())
	}
}
