package supervisor

import (
	"fmt"
	"strings"
	"time"
)

// A guest that resets without ever being of use would boot for ever. From the second reset in a
// row on, each is followed by a longer pause, and after too many the machine stays off. A guest
// that is ready for quickLife ends the row.
const (
	quickLife    = 10 * time.Second
	maxResets    = 20 // in a row
	maxFruitless = 5  // in a row, of boots that never became ready
	firstPause   = time.Second
	maxDoublings = 3
)

// resets counts a guest's resets in a row.
type resets struct {
	pause            time.Duration // after the second
	count, fruitless int
}

// add counts a reset of a boot that became ready at that time, which is zero if it never did.
// It returns how long to wait before the next boot, or false if there should be none.
func (r *resets) add(ready, now time.Time) (pause time.Duration, again bool) {
	switch {
	case ready.IsZero():
		r.fruitless++
	case now.Sub(ready) < quickLife:
		r.fruitless = 0
	default:
		r.count, r.fruitless = 0, 0
		return 0, true
	}
	r.count++
	if r.count > 1 {
		pause = r.pause << min(r.count-2, maxDoublings)
	}
	return pause, r.count < maxResets && r.fruitless < maxFruitless
}

// err reports a guest that only resets.
func (r *resets) err(last []string) error {
	what := fmt.Errorf("the guest reset %d times in a row, each time soon after it was ready", r.count)
	if r.fruitless >= maxFruitless {
		what = fmt.Errorf("the guest reset %d times in a row before it was ready", r.fruitless)
	}
	return &EndError{Err: what, Last: last}
}

// EndError reports a machine that ended by itself and cannot go on.
type EndError struct {
	Err  error
	Last []string // the last lines that the guest printed
}

func (e *EndError) Error() string {
	if len(e.Last) == 0 {
		return e.Err.Error()
	}
	return e.Err.Error() + "\nThe last lines on its console:\n  " + strings.Join(e.Last, "\n  ")
}

// Unwrap returns why it ended.
func (e *EndError) Unwrap() error { return e.Err }
