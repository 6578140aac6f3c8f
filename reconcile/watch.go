package reconcile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Project is a project on a host, as [Watch] keeps it. Its methods are never called at
// the same time.
type Project interface {
	// Look reads the project file and looks at the host, and plans.
	Look(ctx context.Context) (Plan, error)
	// Apply carries out a plan, in which nothing loses data, and shows that to people.
	// One without changes is only for notes of how the machines are. ErrLookAgain says
	// that the plan is old and that nothing was done.
	Apply(ctx context.Context, p Plan) error
	// Tell shows news. It is not called without any.
	Tell(n News)
}

// ErrLookAgain has a watch look again at once.
var ErrLookAgain = errors.New("somebody else has worked on the project")

// News is what a watch has to say beside what it does. One field is set.
type News struct {
	Err     error // there is no plan, or what was begun has failed
	Mended  bool  // there is a plan again
	Waiting *Plan // changes that wait for a person, since now
}

// WatchOptions adjust [Watch].
type WatchOptions struct {
	// Sources and Machines say that the project's files or the host's machines may be
	// other ones. Required. They should have room for one: more than one between two
	// looks means nothing.
	Sources, Machines <-chan struct{}

	// RepairDrift takes back what was changed outside of the project file. Without it
	// that waits for a person.
	RepairDrift bool

	Quiet time.Duration // how long nothing changes before a look; default: DefaultQuiet
	Delay time.Duration // the most that changes delay it; default: DefaultDelay
}

// A saved file may be many changes, and a checkout many files: a look waits until it is
// quiet, but not for ever.
const (
	DefaultQuiet = 100 * time.Millisecond
	DefaultDelay = time.Second
)

// Watch keeps the machines as the project file says until ctx ends. What keeps data is
// applied; what loses some waits for a person, and so do machines that depend on such
// ones, unless they run. Without a plan everything stays as it is.
//
// What has failed is tried again, ever more rarely, and at once when a file has changed.
//
// Its error is that of a change which the end of ctx cut short.
func Watch(ctx context.Context, w Project, o WatchOptions) error {
	o.Quiet, o.Delay = cmp.Or(o.Quiet, DefaultQuiet), cmp.Or(o.Delay, DefaultDelay)
	l := &watch{w: w, o: o, tries: tries{}, told: map[string]bool{}}
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

// watch is one run of Watch.
type watch struct {
	w     Project
	o     WatchOptions
	tries tries           // of each machine
	told  map[string]bool // what is known to wait for a person

	noted []string // what was wanted of each machine at the last Apply

	failure string // the error of the last look
	failed  int    // looks without a plan, one after the other
	stuck   int    // the same of applications that failed
}

// round looks once and does what is to be done. It returns after which time there is
// something to try again; 0: there is not.
func (l *watch) round(ctx context.Context) (again time.Duration, err error) {
	plan, err := l.w.Look(ctx)
	if err != nil {
		if ctx.Err() == nil && err.Error() != l.failure {
			l.w.Tell(News{Err: err})
			l.failure = err.Error()
		}
		l.failed++
		return backoff(l.failed), nil
	}
	if l.failed > 0 {
		l.w.Tell(News{Mended: true})
	}
	l.failure, l.failed = "", 0
	l.tries.settle(plan)
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
	// What was not begun for what has failed can go on without it, unless that is all.
	l.stuck++
	return backoff(l.stuck - 1), err
}

// tell shows what has come to wait for a person.
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

// await returns when it is time for the next look: after changes, or after the given
// time, if that is not 0. It returns false when ctx has ended.
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

// failures are the IDs of the machines that err, which Apply has returned, is about.
func failures(err error) map[string]bool {
	failed := map[string]bool{}
	var collect func(error)
	collect = func(err error) {
		var c *ChangeError
		if all, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each is asked
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
