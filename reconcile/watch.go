package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Project is a project and its host, as [Watch] uses them. Calls of its methods do not
// overlap.
type Project interface {
	// Look reads the project file and the state of the host, and makes a plan.
	Look(ctx context.Context) (Plan, error)
	// Apply carries out a plan, in which no change loses data, and shows its progress. A
	// plan without changes only records the state of the machines. Apply returns
	// ErrLookAgain, and does nothing, if the plan is outdated.
	Apply(ctx context.Context, p Plan) error
	// Tell shows news.
	Tell(n News)
}

// ErrLookAgain makes a watch plan again at once.
var ErrLookAgain = errors.New("the project changed since the plan was made")

// News is a report of a watch other than a plan that it applies. One field is set.
type News struct {
	Err     error // planning or applying failed
	Mended  bool  // planning works again
	Waiting *Plan // changes that newly wait for approval
}

// WatchOptions configure [Watch].
type WatchOptions struct {
	// Sources and Machines signal that the project's files or the host's machines may have
	// changed. Required. A buffer of one suffices: further signals between two looks add
	// nothing.
	Sources, Machines <-chan struct{}

	// RepairDrift reverts changes made outside of the project file. Without it, such
	// changes wait for approval.
	RepairDrift bool

	Quiet time.Duration // how long to wait for further signals before a look; default: DefaultQuiet
	Delay time.Duration // the most that further signals delay a look; default: DefaultDelay
}

// Saving one file can cause several signals, and a checkout changes many files, so a look
// waits until the signals stop, up to a limit.
const (
	DefaultQuiet = 100 * time.Millisecond
	DefaultDelay = time.Second
)

// Watch keeps the machines in line with the project file until ctx ends. It applies changes
// that keep data. Changes that lose data wait for approval, and so do changes that give a
// machine more of the host than the user has agreed to, and machines that do not run and depend
// on such a change. While planning fails, nothing changes.
//
// Failed changes are tried again at growing intervals, and at once when a file changes.
//
// Watch returns the error of an apply that the end of ctx interrupted, if any.
func Watch(ctx context.Context, w Project, o WatchOptions) error {
	o.Quiet, o.Delay = cmp.Or(o.Quiet, DefaultQuiet), cmp.Or(o.Delay, DefaultDelay)
	l := &watch{w: w, o: o, tries: attempts{}, told: map[string]bool{}}
	for {
		again, err := l.round(ctx)
		if ctx.Err() != nil {
			return err
		}
		if !l.await(ctx, again) {
			return nil
		}
	}
}

// watch is the state of a running [Watch].
type watch struct {
	w     Project
	o     WatchOptions
	tries attempts // at the changes of each machine
	given consent
	told  map[string]bool // signatures of the changes reported as waiting for approval

	noted []string // the goals recorded by the last Apply

	failure string // the error of the last look
	failed  int    // number of consecutive looks that failed
	stuck   int    // number of consecutive applies that failed
}

// round looks once and applies what it can. It returns after which time to look again, or 0
// if only a signal is a reason to.
func (l *watch) round(ctx context.Context) (again time.Duration, err error) {
	plan, err := l.w.Look(ctx)
	if err != nil {
		if ctx.Err() == nil && err.Error() != l.failure {
			l.w.Tell(News{Err: err})
			l.failure = err.Error()
		}
		l.failed++
		l.given.begin()
		return backoff(l.failed), nil
	}
	if l.failed > 0 {
		l.w.Tell(News{Mended: true})
	}
	l.failure, l.failed = "", 0
	l.tries.settle(plan)
	l.given.learn(plan)
	now := time.Now()
	do, waiting := l.part(plan, now)
	l.tell(waiting)
	wants := do.wants()
	if do.Empty() && slices.Equal(wants, l.noted) {
		l.stuck = 0
		return l.tries.next(plan, now), nil
	}
	err = l.w.Apply(ctx, do)
	if errors.Is(err, ErrLookAgain) {
		return l.o.Quiet, nil
	}
	l.tries.note(do, err, time.Now())
	if err == nil {
		l.noted, l.stuck = wants, 0
		return l.tries.next(plan, time.Now()), nil
	}
	if ctx.Err() == nil {
		l.w.Tell(News{Err: err})
	}
	// After the first failure the changes that it kept from starting can be tried at once.
	l.stuck++
	return backoff(l.stuck - 1), err
}

// tell reports the changes that have begun to wait for approval.
func (l *watch) tell(waiting Plan) {
	told := map[string]bool{}
	var fresh Plan
	for _, c := range waiting.Changes {
		s := c.signature()
		if told[s] = true; !l.told[s] {
			fresh.Changes = append(fresh.Changes, c)
		}
	}
	l.told = told
	if len(fresh.Changes) > 0 {
		fresh.Drift = driftOf(waiting.Drift, fresh.Changes)
		l.w.Tell(News{Waiting: &fresh})
	}
}

// await waits for the next look: for a signal, or for the given time if it is not 0. It
// returns false when ctx has ended.
func (l *watch) await(ctx context.Context, again time.Duration) bool {
	var retry <-chan time.Time
	if again > 0 {
		retry = time.After(again)
	}
	select {
	case <-ctx.Done():
		return false
	case <-retry:
		return true
	case <-l.o.Sources:
		l.tries.hasten()
	case <-l.o.Machines:
	}
	quiet, late := time.NewTimer(l.o.Quiet), time.After(l.o.Delay)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-late:
			return true
		case <-l.o.Sources:
			l.tries.hasten()
			quiet.Reset(l.o.Quiet)
		case <-l.o.Machines:
			quiet.Reset(l.o.Quiet)
		}
	}
}

// failures returns the IDs of the machines in an error of [Apply].
func failures(err error) map[string]bool {
	failed := map[string]bool{}
	var collect func(error)
	collect = func(err error) {
		var c *ChangeError
		if all, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each joined error is collected
			for _, e := range all.Unwrap() {
				collect(e)
			}
		} else if errors.As(err, &c) {
			failed[c.ID] = true
		}
	}
	collect(err)
	return failed
}
