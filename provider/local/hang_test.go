package local

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
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
	err := p.checkAnswers(t.Context(), "dev", 20*time.Millisecond)
	var unreachable *UnreachableError
	var silent *SilentError
	if !errors.As(err, &unreachable) || !errors.As(err, &silent) {
		t.Errorf("checkAnswers = %v, want an UnreachableError", err)
	}
	gaveUp := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gaveUp)
	if err := p.checkAnswers(ctx, "dev", time.Hour); !errors.Is(err, gaveUp) {
		t.Errorf("checkAnswers = %v, want %v", err, gaveUp)
	}
}

func TestSupervisorThatDoesNotListenYetDoesNotHang(t *testing.T) {
	p, _ := withSilentSupervisor(t)
	if err := p.checkAnswers(t.Context(), "dev", time.Hour); err != nil {
		t.Errorf("checkAnswers = %v", err)
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
	if err := p.Supervise(ctx, "dev", nil); err == nil || !strings.Contains(err.Error(), "machine dev is supervised by another stead process") {
		t.Errorf("a second supervisor ended with %v", err)
	}
}
