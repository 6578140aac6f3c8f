package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stead-vm/stead/provider/poll"
)

// adviceError has a remedy.
type adviceError struct{ remedy string }

func (e *adviceError) Error() string  { return "failed" }
func (e *adviceError) Remedy() string { return e.remedy }

func TestInterruptDiffersFromFailure(t *testing.T) {
	interrupt := errors.New("interrupt signal received")
	a := &app{cause: func() error { return interrupt }}
	failure := errors.New("no space left")
	tests := map[string]struct {
		err  error
		want bool
	}{
		"the interrupt itself":              {interrupt, true},
		"an interrupted step":               {fmt.Errorf("machine dev: %w", interrupt), true},
		"an interrupted wait":               {fmt.Errorf("stop: %w", &poll.EndedError{Cause: interrupt, Last: failure}), true},
		"a cancelled request":               {fmt.Errorf("get: %w", context.Canceled), true},
		"a failure":                         {failure, false},
		"two interrupted steps":             {errors.Join(interrupt, fmt.Errorf("b: %w", interrupt)), true},
		"a failure and an interrupted step": {errors.Join(interrupt, failure), false},
		"a wait that timed out":             {&poll.EndedError{Cause: errors.New("timed out"), Last: failure}, false},
	}
	for name, tt := range tests {
		if got := a.interrupted(tt.err); got != tt.want {
			t.Errorf("%s: interrupted = %v", name, got)
		}
	}
}

func TestEachHintIsPrintedOnce(t *testing.T) {
	once := &adviceError{"free space"}
	err := errors.Join(fmt.Errorf("a: %w", once), fmt.Errorf("b: %w", &adviceError{"free space"}),
		&poll.EndedError{Cause: errors.New("timed out"), Last: &adviceError{"wait"}}, &adviceError{""})
	got := remedies(err)
	if len(got) != 2 || got[0] != "free space" || got[1] != "wait" {
		t.Errorf("hints: %q", got)
	}
}
