package reconcile

import (
	"context"

	"github.com/stead-vm/stead/provider/machine"
)

// change carries out the steps of c in order.
func (r *applier) change(ctx context.Context, c Change) error {
	if c.Action == None {
		return r.note(ctx, c)
	}
	if ctx.Err() != nil {
		return &ChangeError{ID: c.ID, Action: c.Action, Err: context.Cause(ctx)}
	}
	event := Event{ID: c.ID, Action: c.Action}
	r.tell(event)
	for _, s := range c.steps() {
		err := context.Cause(ctx)
		if err == nil {
			r.tell(Event{ID: c.ID, Action: c.Action, Kind: Stepped, Step: s.news})
			err = s.run(ctx, r.prov, c)
		}
		if err != nil {
			event.Kind, event.Err = Failed, &ChangeError{ID: c.ID, Action: c.Action, Step: s.name, Err: err}
			r.tell(event)
			return event.Err
		}
	}
	if err := r.note(ctx, c); err != nil {
		return err
	}
	event.Kind = Done
	r.tell(event)
	return nil
}

// note records how the change left the machine. It comes last, so that an interrupted change
// is planned again.
func (r *applier) note(ctx context.Context, c Change) error {
	if c.Want == nil && c.Action != Delete {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := r.prov.Note(ctx, c.ID, c.Want, c.Stopped)
	if err == nil && c.From != "" {
		err = r.prov.Note(ctx, c.From, nil, false)
	}
	if err != nil {
		return &ChangeError{ID: c.ID, Action: c.Action, Step: "record the result", Err: err}
	}
	return nil
}

// step is one call of a provider.
type step struct {
	name string // for errors
	news string // for events
	run  func(ctx context.Context, prov Provider, c Change) error
}

// withSpec returns a step that takes the wanted spec.
func withSpec(name, news string, call func(Provider, context.Context, machine.Spec) error) step {
	return step{name, news, func(ctx context.Context, prov Provider, c Change) error { return call(prov, ctx, *c.Want) }}
}

// withIdentity returns a step that takes the wanted spec and the identity of the machine that
// the plan was made for.
func withIdentity(name, news string, call func(Provider, context.Context, machine.Spec, *machine.Identity) error) step {
	return step{name, news, func(ctx context.Context, prov Provider, c Change) error {
		return call(prov, ctx, *c.Want, c.Have.Identity())
	}}
}

// withID returns a step that takes the machine's name.
func withID(name, news string, call func(Provider, context.Context, string) error) step {
	return step{name, news, func(ctx context.Context, prov Provider, c Change) error { return call(prov, ctx, c.ID) }}
}

var (
	create        = withSpec("create", "creating", Provider.Create)
	configure     = withIdentity("configure", "writing settings", Provider.Configure)
	replace       = withIdentity("replace", "replacing", Provider.Replace)
	repair        = withIdentity("repair", "repairing", Provider.Repair)
	applyServices = withID("update", "updating services", Provider.ApplyServices)
	start         = withID("start", "starting", Provider.Start)
	stop          = withID("stop", "stopping", Provider.Stop)
	remove        = step{"delete", "deleting", func(ctx context.Context, prov Provider, c Change) error {
		return prov.Delete(ctx, c.ID, c.Have.Identity())
	}}
	stopOld = step{"stop", "stopping", func(ctx context.Context, prov Provider, c Change) error {
		return prov.Stop(ctx, c.From)
	}}
	move = step{"move", "renaming", func(ctx context.Context, prov Provider, c Change) error {
		return prov.Move(ctx, c.From, c.ID, c.Have.Identity())
	}}
)

// steps holds the steps of each action. Settings are written before a machine stops, so a
// refused setting leaves it running. Start is idempotent, so it also ends the actions of
// machines that already run.
var steps = [numActions][]step{
	Create:      {create, start},
	Reconfigure: {configure, start},
	Update:      {configure, start, applyServices},
	Restart:     {configure, stop, start},
	Move:        {configure, start},
	Start:       {start},
	Stop:        {stop},
	Repair:      {repair, start},
	Replace:     {replace, start},
	Delete:      {remove},
}

// steps returns the steps of the change: those of its action, without a start if the machine
// is to be stopped, and with a move if it is renamed.
func (c *Change) steps() []step {
	var list []step
	if c.From != "" && c.Action != Delete {
		list = append(list, stopOld, move) // a broken machine may run
	}
	if c.Action == Stop && len(c.Attrs) > 0 {
		list = append(list, configure)
	}
	for _, s := range steps[c.Action] {
		if s.name == start.name && c.Stopped {
			continue
		}
		list = append(list, s)
	}
	return list
}
