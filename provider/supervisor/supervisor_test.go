package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestStopEscalates(t *testing.T) {
	tests := map[string]struct {
		set   func(*fakeVM)
		how   Stop
		heard []string
	}{
		"a guest that shuts down is only asked":                  {func(*fakeVM) {}, Stop{}, []string{"shutdown"}},
		"an init that ignores the request gets the power button": {func(v *fakeVM) { v.obeysShutdown, v.obeysButton = false, true }, Stop{Grace: time.Millisecond}, []string{"shutdown", "power button"}},
		"a hypervisor that hangs is killed":                      {func(v *fakeVM) { v.obeysShutdown, v.hangs = false, true }, Stop{Grace: time.Millisecond}, []string{"shutdown", "power button", "kill"}},
		"force cuts the power at once":                           {func(*fakeVM) {}, Stop{Force: true}, []string{"kill"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			d.set = tt.set
			r := startSupervisor(t, d)
			v := <-d.started
			if _, err := r.client.Status(t.Context(), WaitServices); err != nil {
				t.Fatal(err)
			}
			if err := r.client.Stop(t.Context(), tt.how); err != nil {
				t.Fatal(err)
			}
			if err := <-r.err; err != nil {
				t.Errorf("Run ended with %v", err)
			}
			heard := slices.DeleteFunc(v.asked(), func(s string) bool { return strings.HasPrefix(s, "services") || s == "clock" })
			if !slices.Equal(heard, tt.heard) {
				t.Errorf("the guest heard %q, want %q", heard, tt.heard)
			}
		})
	}
}

func TestSocketsAreForTheirOwnerOnly(t *testing.T) {
	r := startSupervisor(t, newDriver(t))
	dir, _ := r.client.runDir()
	for _, name := range []string{apiSocket, sshSocket} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestInterruptedSupervisorStopsItsMachineGracefully(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	v := <-d.started
	r.cancel()
	if err := <-r.err; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if !slices.Contains(v.asked(), "shutdown") || slices.Contains(v.asked(), "kill") {
		t.Errorf("the guest heard %q", v.asked())
	}
}

func TestRebootByTheGuestUsesCurrentSettings(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	(<-d.started).end(hypervisor.Exit{Reason: hypervisor.Rebooted})
	second := <-d.started
	st, err := r.client.Status(t.Context(), WaitReady)
	if err != nil || st.Reboots != 1 {
		t.Errorf("status %+v, %v; want one reboot", st, err)
	}
	r.mu.Lock()
	if r.boots != 2 {
		t.Errorf("prepared %d times", r.boots)
	}
	r.mu.Unlock()
	second.end(hypervisor.Exit{Reason: hypervisor.PoweredOff})
	if err := <-r.err; err != nil {
		t.Errorf("Run ended with %v", err)
	}
}

func TestCrashEndsTheSupervisorWithItsCause(t *testing.T) {
	d := newDriver(t)
	r := startSupervisor(t, d)
	boom := errors.New("triple fault")
	(<-d.started).end(hypervisor.Exit{Reason: hypervisor.Crashed, Err: boom})
	if err := <-r.err; !errors.Is(err, boom) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestGuestThatCannotBecomeReadySaysWhy(t *testing.T) {
	d := newDriver(t)
	d.guestStatus = guest.Status{Fault: &fault.Wire{Message: "no root device", Remedy: "plug it in"}}
	r := startSupervisor(t, d)
	err := <-r.err
	if err == nil || !strings.Contains(err.Error(), "no root device") {
		t.Errorf("Run ended with %v", err)
	}
	var advice interface{ Remedy() string }
	if !errors.As(err, &advice) || advice.Remedy() != "the machine says: plug it in" {
		t.Errorf("the agent's remedy is lost: %v", advice)
	}
	if v := <-d.started; !slices.Contains(v.asked(), "kill") {
		t.Errorf("the machine was left running")
	}
}

func TestRunReturnsTheErrorOfStart(t *testing.T) {
	d := newDriver(t)
	d.startErr = errors.New("no such device")
	if err := <-startSupervisor(t, d).err; !errors.Is(err, d.startErr) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestServicesAreAppliedAtBootAndOnDemand(t *testing.T) {
	d := newDriver(t)
	d.badService = "typo"
	r := startSupervisor(t, d, "db", "typo")
	st, err := r.client.Status(t.Context(), WaitServices)
	if err != nil || len(st.Services) != 2 || st.Services[1].Error == "" {
		t.Fatalf("status %+v, %v", st, err)
	}
	states, err := r.client.ApplyServices(t.Context(), []string{"db"})
	if err != nil || len(states) != 1 || !states[0].Active {
		t.Errorf("applying gave %+v, %v", states, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.settled) != 2 || !slices.Equal(r.settled[0], []string{"db"}) || !slices.Equal(r.settled[1], []string{"db"}) {
		t.Errorf("taken services: %q", r.settled)
	}
}

// at returns a run directory that is always the same.
func at(dir string) func() (string, error) {
	return func() (string, error) { return dir, nil }
}

func TestStopEndsABootThatPrepares(t *testing.T) {
	hangs := make(chan struct{})
	defer close(hangs)
	preparing := make(chan struct{})
	s := newSupervisor(Options{Driver: newDriver(t), Prepare: func(context.Context) (Boot, error) {
		close(preparing)
		<-hangs // as a dead file system does
		return Boot{}, nil
	}})
	ended := make(chan error, 1)
	go func() { ended <- s.run(t.Context()) }()
	<-preparing
	s.stop(t.Context(), Stop{Force: true})
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}
