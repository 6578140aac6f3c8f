package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/provider"
)

// Options adjust [Apply].
type Options struct {
	Parallelism int         // machines that are worked on at the same time; default 4
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

// Apply makes a plan true. It changes nothing when the host refuses any of the
// wanted machines. After that machines do not depend on each other: one that
// fails stops no other, and the error joins a [*ChangeError] for each that did.
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
	tell := serialized(o.Events)
	errs := make([]error, len(plan.Changes))
	var group errgroup.Group
	group.SetLimit(o.Parallelism)
	for i, c := range plan.Changes {
		if c.Action == None {
			continue
		}
		group.Go(func() error {
			errs[i] = applyOne(ctx, prov, c, tell)
			return nil
		})
	}
	_ = group.Wait() // its functions return nil: one machine's error must not end the others
	return errors.Join(errs...)
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

// applyOne takes a change's steps in their order.
func applyOne(ctx context.Context, prov Provider, c Change, tell func(Event)) error {
	event := Event{ID: c.ID, Action: c.Action}
	if ctx.Err() != nil {
		return &ChangeError{ID: c.ID, Action: c.Action, Err: context.Cause(ctx)}
	}
	tell(event)
	for _, s := range steps[c.Action] {
		err := context.Cause(ctx)
		if err == nil {
			tell(Event{ID: c.ID, Action: c.Action, Kind: Stepped, Step: s.news})
			err = s.run(ctx, prov, c)
		}
		if err != nil {
			event.Kind, event.Err = Failed, &ChangeError{ID: c.ID, Action: c.Action, Step: s.name, Err: err}
			tell(event)
			return event.Err
		}
	}
	event.Kind = Done
	tell(event)
	return nil
}

// step is one call of a provider.
type step struct {
	name string // in errors
	news string // in events
	run  func(ctx context.Context, prov Provider, c Change) error
}

// withSpec is a step that takes what is wanted.
func withSpec(name, news string, call func(Provider, context.Context, provider.Spec) error) step {
	return step{name, news, func(ctx context.Context, prov Provider, c Change) error { return call(prov, ctx, *c.Want) }}
}

// withID is a step that takes the machine's name.
func withID(name, news string, call func(Provider, context.Context, string) error) step {
	return step{name, news, func(ctx context.Context, prov Provider, c Change) error { return call(prov, ctx, c.ID) }}
}

var (
	create        = withSpec("create", "creating", Provider.Create)
	configure     = withSpec("configure", "writing settings", Provider.Configure)
	replace       = withSpec("replace", "making anew", Provider.Replace)
	repair        = withSpec("repair", "repairing", Provider.Repair)
	applyServices = withID("update", "updating services", Provider.ApplyServices)
	start         = withID("start", "starting", Provider.Start)
	stop          = withID("stop", "stopping", Provider.Stop)
	remove        = withID("delete", "deleting", Provider.Delete)
)

// steps is what each action is made of. Settings are written before a machine
// stops: a refused one leaves it running. Start is idempotent, so it also ends
// the actions of machines that were running when the plan was made.
var steps = [numActions][]step{
	Create:      {create, start},
	Reconfigure: {configure, start},
	Update:      {configure, start, applyServices},
	Restart:     {configure, stop, start},
	Start:       {start},
	Stop:        {stop},
	Repair:      {repair, start},
	Replace:     {replace, start},
	Delete:      {remove},
}
