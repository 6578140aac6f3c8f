package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stead-vm/stead/provider/poll"
)

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
