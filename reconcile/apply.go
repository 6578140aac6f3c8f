package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Options adjust [Apply].
type Options struct {
	Parallelism int         // machines that are worked on at the same time; default 4
	Memory      int64       // bytes that machines which are worked on may have together; default: no bound
	Events      func(Event) // default: nobody listens; never called twice at the same time
}

// EventKind is what an [Event] tells.
type EventKind uint8

// Kinds of events. Each change has one Began, some Stepped, and then one Done or
// Failed. A change that is not begun has none.
const (
	Began EventKind = iota
	Stepped
	Done
	Failed
	numEventKinds
)

func (k EventKind) String() string {
	if k < numEventKinds {
		return [...]string{"began", "stepped", "done", "failed"}[k]
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// Event is news of one machine while a plan is applied.
type Event struct {
	ID     string
	Action Action
	Kind   EventKind
	Step   string // Stepped: what is done from now on, for people
	Err    error  // Failed: why
}

// ChangeError says which machine could not be changed.
type ChangeError struct {
	ID     string
	Action Action
	Step   string // the part of the action that failed; empty: it was not begun
	Err    error
}

func (e *ChangeError) Error() string {
	switch e.Step {
	case "":
		return fmt.Sprintf("machine %q: %s was not begun: %v", e.ID, e.Action, e.Err)
	case e.Action.String():
		return fmt.Sprintf("machine %q: %s: %v", e.ID, e.Action, e.Err)
	default:
		return fmt.Sprintf("machine %q: %s: %s: %v", e.ID, e.Action, e.Step, e.Err)
	}
}

func (e *ChangeError) Unwrap() error { return e.Err }

// SkippedError says that a machine was left as it was because another one, which it
// depends on, failed.
type SkippedError struct {
	On  string
	Err error // why that failed
}

func (e *SkippedError) Error() string {
	return fmt.Sprintf("it depends on machine %q, which failed", e.On)
}

// Unwrap gives the reason of the other one.
func (e *SkippedError) Unwrap() error { return e.Err }

// Apply makes a plan true. It changes nothing when the host refuses any of the
// wanted machines. After that machines are worked on side by side, each when those it
// comes after are done; one that fails stops only those. The error joins a
// [*ChangeError] for each machine that is not as it should be.
//
// When ctx ends, steps that run finish or undo themselves and no other begins.
// Planning and applying again continues from there.
func Apply(ctx context.Context, prov Provider, plan Plan, o Options) error {
	if o.Parallelism <= 0 {
		o.Parallelism = 4
	}
	if err := check(ctx, prov, plan); err != nil {
		return err
	}
	r := &run{prov: prov, tell: serialized(o.Events)}
	return errors.Join(newSchedule(plan.Changes, o).carryOut(func(c Change) error { return r.change(ctx, c) })...)
}

// run is one application of a plan.
type run struct {
	prov Provider
	tell func(Event)
}

// check asks the host about every machine before anything is changed.
func check(ctx context.Context, prov Provider, plan Plan) error {
	var errs []error
	for _, c := range plan.Changes {
		if c.Want == nil || c.Action == None {
			continue
		}
		if err := prov.Check(ctx, *c.Want); err != nil {
			errs = append(errs, &ChangeError{ID: c.ID, Action: c.Action, Err: err})
		}
	}
	return errors.Join(errs...)
}

// serialized makes a listener that several goroutines may call.
func serialized(events func(Event)) func(Event) {
	if events == nil {
		return func(Event) {}
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events(e)
	}
}
