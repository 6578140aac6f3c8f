// Package poll waits for what nothing announces: it tries again and again, and says at the
// end what it has seen.
package poll

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Loop says how often something is tried and for how long.
type Loop struct {
	Every time.Duration // required: the pause between two attempts
	// Limit ends the loop that long after the first failed attempt; 0: only the context
	// does.
	Limit time.Duration
}

// Until calls probe until it returns nil. It gives up when ctx or the limit ends, with
// why and the last failure seen: "deadline exceeded" alone helps nobody. A probe ends it
// at once with [Final].
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
		if l.Limit > 0 && time.Now().After(limit) {
			return fmt.Errorf("timed out after %s (last attempt: %w)", l.Limit, seen)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), seen)
		case <-time.After(l.Every):
		}
	}
}

// Final marks an error after which there is no further attempt.
func Final(err error) error { return finalError{err} }

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }
