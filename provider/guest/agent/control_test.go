//go:build linux

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/portmux"
	"github.com/stead-vm/stead/provider/guest/portmux/portmuxtest"
)

// host connects a client with c over the same transport as in a machine.
func host(t *testing.T, c *control) *guest.Client {
	t.Helper()
	client := guest.NewClient(portmuxtest.Serve(t, guest.ControlPort, serveHTTP(c)).Dial)
	t.Cleanup(client.Close)
	return client
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestWaitReadyReturnsWhenInitHasStarted(t *testing.T) {
	c := newControl(quiet(), "systemd")
	c.initState = func(context.Context) string { return "starting" }
	client := host(t, c)
	if s, err := client.Status(t.Context()); err != nil || s.Ready {
		t.Errorf("before: %+v, %v", s, err)
	}
	time.AfterFunc(5*time.Millisecond, func() { c.settle(nil) })
	s, err := client.WaitReady(t.Context())
	if err != nil || !s.Ready || s.Init != "systemd" || s.InitState != "starting" || s.Hello.Release == "" || s.Hello.BootID == "" {
		t.Errorf("after: %+v, %v", s, err)
	}
}

func TestWaitReadyReturnsWhyAMachineCannotBoot(t *testing.T) {
	c := newControl(quiet(), "")
	c.settle(errors.New("root: no disk"))
	_, err := host(t, c).WaitReady(t.Context())
	var boot *guest.BootError
	if !errors.As(err, &boot) || boot.Err.Error() != "root: no disk" {
		t.Errorf("WaitReady = %v", err)
	}
}

func TestWaitReadyEndsWithItsContextAndTheLastError(t *testing.T) {
	ended := errors.New("given up")
	tests := map[string]struct {
		refusals int // before the attempt that ctx cuts short
		want     string
	}{
		"refused, then silent": {refusals: 2, want: portmux.ErrRefused.Error()},
		"silent":               {want: "has not answered"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancelCause(t.Context())
			var attempts atomic.Int32
			_, err := guest.NewClient(func(ctx context.Context, _ uint32) (net.Conn, error) {
				if attempts.Add(1) <= int32(tt.refusals) {
					return nil, portmux.ErrRefused
				}
				end(ended)
				<-ctx.Done()
				return nil, ctx.Err()
			}).WaitReady(ctx)
			if !errors.Is(err, ended) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("WaitReady = %v, want %v and %q", err, ended, tt.want)
			}
		})
	}
}

// fakeServices is an init that has every service except "broken".
type fakeServices struct{}

func (fakeServices) Apply(_ context.Context, want []string) ([]guest.ServiceState, error) {
	if len(want) > 0 && want[0] == "broken" {
		return nil, errors.New("services need an image with systemd or OpenRC")
	}
	states := []guest.ServiceState{}
	for _, n := range want {
		states = append(states, guest.ServiceState{Name: n, Active: true})
	}
	return states, nil
}

func TestControlCallsServicesAndShutdown(t *testing.T) {
	c := newControl(quiet(), "systemd")
	orders := make(chan bool, 1)
	c.services = fakeServices{}
	c.shutdown = func(_ context.Context, reboot bool) error { orders <- reboot; return nil }
	client := host(t, c)
	want := []guest.ServiceState{{Name: "redis", Active: true}}
	if got, err := client.ApplyServices(t.Context(), []string{"redis"}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("ApplyServices = %v, %v", got, err)
	}
	if _, err := client.ApplyServices(t.Context(), []string{"broken"}); err == nil || !strings.Contains(err.Error(), "systemd or OpenRC") {
		t.Errorf("ApplyServices = %v, want the agent's words", err)
	}
	if err := client.Shutdown(t.Context(), guest.Shutdown{Reboot: true}); err != nil || !<-orders {
		t.Errorf("Shutdown = %v", err)
	}
	if err := client.SetClock(t.Context(), time.Now()); err != nil { // already right: the clock is not set
		t.Errorf("SetClock = %v", err)
	}
}

func TestProbeAnswersStatusOnly(t *testing.T) {
	c := newControl(quiet(), "")
	c.settle(nil)
	client := host(t, c)
	if s, err := client.WaitReady(t.Context()); err != nil || !s.Ready {
		t.Errorf("WaitReady = %+v, %v", s, err)
	}
	if err := client.Shutdown(t.Context(), guest.Shutdown{}); err == nil || !strings.Contains(err.Error(), "does not support") {
		t.Errorf("Shutdown = %v", err)
	}
}
