package local

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/lock"
)

// withHangingSupervisor returns a provider whose machine "dev" has a supervisor that listens but
// never answers.
func withHangingSupervisor(t *testing.T) *Provider {
	t.Helper()
	p, _ := withSilentSupervisor(t)
	listen(t, p)
	return p
}

func TestSupervisorThatHangsIsFoundOut(t *testing.T) {
	p := withHangingSupervisor(t)
	err := p.awaken(t.Context(), "dev", 20*time.Millisecond)
	var unreachable *UnreachableError
	var silent *SilentError
	if !errors.As(err, &unreachable) || !errors.As(err, &silent) {
		t.Errorf("awaken = %v, want an UnreachableError", err)
	}
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gaveUp)
	if err := p.awaken(ctx, "dev", time.Hour); !errors.Is(err, gaveUp) {
		t.Errorf("awaken = %v, want %v", err, gaveUp)
	}
}

func TestSupervisorThatDoesNotListenYetDoesNotHang(t *testing.T) {
	p, _ := withSilentSupervisor(t)
	if err := p.awaken(t.Context(), "dev", time.Hour); err != nil {
		t.Errorf("awaken = %v", err)
	}
}

func TestOnlyTheRecordedProcessIsKilled(t *testing.T) {
	p := withHangingSupervisor(t) // its lock names no process
	b := p.Bundles.Bundle("dev")
	if err := p.killSupervisor(t.Context(), b, "dev"); err == nil {
		t.Error("killed a supervisor that has not recorded its process")
	}
}

func TestMachineHasOneSupervisor(t *testing.T) {
	p, _ := withSilentSupervisor(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var held *lock.HeldError
	if err := p.Supervise(ctx, "dev", nil); !errors.As(err, &held) {
		t.Errorf("a second supervisor ended with %v", err)
	}
}
