package poll

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errNotYet = errors.New("not yet")

func TestUntilTriesAgainUntilTheProbeSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries, began := 0, time.Now()
		err := Loop{Every: time.Second}.Until(t.Context(), func(context.Context) error {
			if tries++; tries < 4 {
				return errNotYet
			}
			return nil
		})
		if err != nil || tries != 4 || time.Since(began) != 3*time.Second {
			t.Errorf("got %v after %d tries and %v", err, tries, time.Since(began))
		}
	})
}

func TestUntilReportsWhyItEndedAndTheLastFailure(t *testing.T) {
	errStop := errors.New("interrupted")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errStop)
		defer cancel()
		err := Loop{Every: time.Second}.Until(ctx, func(context.Context) error { return errNotYet })
		if !errors.Is(err, errStop) || !errors.Is(err, errNotYet) {
			t.Errorf("got %v", err)
		}
		var ended *EndedError
		if !errors.As(err, &ended) || ended.Cause != errStop || errors.Unwrap(err) != errStop { //nolint:errorlint // as it is
			t.Errorf("its cause is %v", errors.Unwrap(err))
		}
	})
}

func TestTheLimitBeginsWithTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, first := time.Now(), true
		err := Loop{Every: time.Second, Limit: 5 * time.Second}.Until(t.Context(), func(context.Context) error {
			if first {
				time.Sleep(time.Minute)
			}
			first = false
			return errNotYet
		})
		if !errors.Is(err, errNotYet) || !strings.Contains(err.Error(), "timed out after 5s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began) - time.Minute; took < 5*time.Second || took > 7*time.Second {
			t.Errorf("took %v after the first failure", took)
		}
	})
}

func TestInterruptedAttemptIsNotTheLastFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := Loop{Every: time.Nanosecond}.Until(ctx, func(ctx context.Context) error {
		if tries++; tries == 1 {
			return errNotYet
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, errNotYet) || strings.Count(err.Error(), "context canceled") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestAFinalErrorEndsTheLoop(t *testing.T) {
	err := Loop{Every: time.Hour}.Until(t.Context(), func(context.Context) error { return Final(errNotYet) })
	if err != errNotYet { //nolint:errorlint // unwrapped
		t.Errorf("got %v", err)
	}
}
