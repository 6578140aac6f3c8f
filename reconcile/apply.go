package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Options configure [Apply].
type Options struct {
	Parallelism int         // how many machines are changed at the same time; default: 4
	Memory      int64       // bytes that machines changed at the same time may use together; default: no limit
	Events      func(Event) // optional; calls do not overlap
}

// EventKind is the kind of an [Event].
type EventKind uint8

// Kinds of events. Each change has one Began, some Stepped, and then one Done or
// Failed. A change that is not started has no events.
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

// Event reports progress of one machine while a plan is applied.
type Event struct {
	ID     string
	Action Action
	Kind   EventKind
	Step   string // for Stepped: the step that begins, as text to show
	Err    error  // for Failed: the reason
}

// ChangeError reports a machine that could not be changed.
type ChangeError struct {
	ID     string
	Action Action
	Step   string // the step of the action that failed; empty: the action was not started
	Err    error
}

func (e *ChangeError) Error() string {
	switch e.Step {
	case "":
		return fmt.Sprintf("machine %q: %s was not started: %v", e.ID, e.Action, e.Err)
	case e.Action.String():
		return fmt.Sprintf("machine %q: %s: %v", e.ID, e.Action, e.Err)
	default:
		return fmt.Sprintf("machine %q: %s: %s: %v", e.ID, e.Action, e.Step, e.Err)
	}
}

func (e *ChangeError) Unwrap() error { return e.Err }

// SkippedError reports a machine that was not changed because a machine that it depends
// on failed.
type SkippedError struct {
	On  string // ID of the machine that failed
	Err error  // why it failed
}

func (e *SkippedError) Error() string {
	return fmt.Sprintf("it depends on machine %q, which failed", e.On)
}

// Unwrap returns the error of the machine that failed.
func (e *SkippedError) Unwrap() error { return e.Err }

// Apply carries out a plan. It changes nothing if the host refuses any of the planned
// machines. Otherwise it changes machines in parallel, each after the machines that its
// After lists. A failure skips only the changes that come after it. The error joins a
// [*ChangeError] for each machine that was not changed as planned.
//
// When ctx ends, running steps finish or undo themselves and no further step begins. To
// continue, plan and apply again.
func Apply(ctx context.Context, prov Provider, plan Plan, o Options) error {
	if o.Parallelism <= 0 {
		o.Parallelism = 4
	}
	if err := check(ctx, prov, plan); err != nil {
		return err
	}
	r := &applier{prov: prov, tell: serialized(o.Events)}
	return errors.Join(newSchedule(plan.Changes, o).carryOut(func(c Change) error { return r.change(ctx, c) })...)
}

// applier applies one plan.
type applier struct {
	prov Provider
	tell func(Event)
}

// check asks the provider about every machine before anything is changed.
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

// serialized returns an events function that several goroutines may call.
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
