// Package poll waits for a condition that sends no notification: it retries a probe and, if
// the wait ends early, reports the last failure.
package poll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stead-vm/stead/provider/fault"
)

// Loop says how often something is tried and for how long.
type Loop struct {
	Every time.Duration // required: the pause between two attempts
	// Limit ends the loop after the first attempt that fails later than that after the
	// first failure. It does not cut an attempt short; 0: only the context ends the loop.
	Limit time.Duration
}

// Until calls probe until it returns nil. When ctx or the limit ends, it returns an
// [*EndedError] with the last failure seen: "deadline exceeded" alone explains nothing. A probe
// ends the loop at once with [Final].
//
// An attempt that the end of ctx cut short says only that ctx has ended, so it is not the
// last failure seen.
func (l Loop) Until(ctx context.Context, probe func(context.Context) error) error {
	var seen error
	var limit time.Time
	for {
		err := probe(ctx)
		var final finalError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &final):
			return final.error
		case seen == nil || ctx.Err() == nil:
			seen = err
		}
		if limit.IsZero() && l.Limit > 0 {
			limit = time.Now().Add(l.Limit)
		}
		if ctx.Err() == nil && l.Limit > 0 && time.Now().After(limit) {
			return &EndedError{Cause: fmt.Errorf("timed out after %s", l.Limit), Last: seen}
		}
		select {
		case <-ctx.Done():
			return &EndedError{Cause: context.Cause(ctx), Last: seen}
		case <-time.After(l.Every):
		}
	}
}

// EndedError reports a loop that ended before its probe succeeded. errors.Is and errors.As
// find both its errors.
type EndedError struct {
	Cause error // that of the context, or the limit
	Last  error // the last failure of the probe
}

func (e *EndedError) Error() string { return fmt.Sprintf("%v (last attempt: %v)", e.Cause, e.Last) }

// Unwrap returns the cause alone: an interrupt is an interrupt, whatever was tried.
func (e *EndedError) Unwrap() error { return e.Cause }

// Is reports whether the last failure is target.
func (e *EndedError) Is(target error) bool { return errors.Is(e.Last, target) }

// Remedy returns what the last failure says to do about it; may be empty.
func (e *EndedError) Remedy() string { return fault.Remedy(e.Last) }

// As finds target in the last failure.
func (e *EndedError) As(target any) bool { return errors.As(e.Last, target) }

// Final marks an error, which must not be nil, after which there is no further attempt.
// [Loop.Until] returns that error alone.
func Final(err error) error { return finalError{err} }

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }
