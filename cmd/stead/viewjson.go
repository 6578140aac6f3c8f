package main

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/transfer"

	"github.com/stead-vm/stead/reconcile"
)

// eventsVersion is the version of what --json prints: schemas/events.schema.json. Keys may
// be added within a version; existing keys keep their meaning.
const eventsVersion = 1

// jsonView prints a line with a JSON object for each thing that is planned or happens.
type jsonView struct {
	w    io.Writer
	now  func() time.Time
	warn func(text string) // prints to standard error

	mu    sync.Mutex
	begun bool
}

// jsonEvent is one line.
type jsonEvent struct {
	Type string    `json:"type"`
	Time time.Time `json:"time"`

	Format int    `json:"format,omitempty"` // of "version"
	Stead  string `json:"stead,omitempty"`

	Machine string            `json:"machine,omitempty"`
	Action  *reconcile.Action `json:"action,omitempty"`
	From    string            `json:"from,omitempty"`
	What    string            `json:"what,omitempty"`
	Attrs   []jsonAttr        `json:"attributes,omitempty"`

	DataLost  int64    `json:"dataLost,omitempty"`
	DriftOnly bool     `json:"driftOnly,omitempty"`
	After     []string `json:"after,omitempty"`

	Step  string   `json:"step,omitempty"`
	Error string   `json:"error,omitempty"`
	Hints []string `json:"hints,omitempty"`

	Changes  map[string]int `json:"changes,omitempty"`
	Failed   []string       `json:"failed,omitempty"`
	NotBegun []string       `json:"notBegun,omitempty"`
}

type jsonAttr struct {
	Name              string `json:"name"`
	Old               string `json:"old"`
	New               string `json:"new"`
	ForcesReplacement bool   `json:"forcesReplacement,omitempty"`
	Pending           bool   `json:"pending,omitempty"`
}

func jsonAttrs(attrs []reconcile.AttrChange) []jsonAttr {
	var list []jsonAttr
	for _, a := range attrs {
		list = append(list, jsonAttr{a.Name, a.Old, a.New, a.ForcesReplacement, a.Pending})
	}
	return list
}

// Warn implements [project.View].
func (v *jsonView) Warn(text string) { v.warn(text) }

func (v *jsonView) print(e jsonEvent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.begun {
		v.begun = true
		v.write(jsonEvent{Type: "version", Format: eventsVersion, Stead: version()})
	}
	v.write(e)
}

func (v *jsonView) write(e jsonEvent) {
	e.Time = v.now().UTC()
	_ = json.NewEncoder(v.w).Encode(e) // the reader may be gone; that ends the program elsewhere
}

// Waiting implements [project.View]: programs need not know.
func (v *jsonView) Waiting(string, []string) {}

// Late implements [project.View].
func (v *jsonView) Late(ids []string) { v.warn(lateText(ids)) }

// Plan implements [project.View].
func (v *jsonView) Plan(p reconcile.Plan) {
	for _, d := range p.Drift {
		v.print(jsonEvent{Type: "drift", Machine: d.ID, What: d.What, Attrs: jsonAttrs(d.Attrs)})
	}
	changes := map[string]int{}
	for _, c := range p.Changes {
		if c.Action == reconcile.None {
			continue
		}
		changes[c.Action.String()]++
		v.print(jsonEvent{
			Type: "planned_change", Machine: c.ID, Action: &c.Action, From: c.From, Attrs: jsonAttrs(c.Attrs),
			DataLost: c.DataLost, DriftOnly: c.DriftOnly, After: c.After,
		})
	}
	v.print(jsonEvent{Type: "plan_summary", Changes: changes})
}

// Event implements [project.View].
func (v *jsonView) Event(e reconcile.Event) {
	line := jsonEvent{Machine: e.ID, Action: &e.Action, Step: e.Step}
	switch e.Kind {
	case reconcile.Began:
		line.Type = "apply_start"
	case reconcile.Stepped:
		line.Type = "apply_step"
	case reconcile.Done:
		line.Type = "apply_done"
	case reconcile.Failed:
		line.Type, line.Error, line.Hints = "apply_failed", e.Err.Error(), fault.Remedies(e.Err)
	}
	v.print(line)
}

// Progress prints nothing: the steps' progress is for terminals.
func (v *jsonView) Progress(string) transfer.Progress { return nil }

// Interrupted implements [project.View].
func (v *jsonView) Interrupted() { v.print(jsonEvent{Type: "interrupted"}) }

// Outcome implements [project.View].
func (v *jsonView) Outcome(p reconcile.Plan, did reconcile.Outcome, err error) {
	e := jsonEvent{Type: "apply_summary", Changes: map[string]int{}, Failed: did.Failed()}
	for _, c := range p.Changes {
		if n := did.Count(c.Action); n > 0 {
			e.Changes[c.Action.String()] = n
		}
	}
	if err != nil {
		e.NotBegun = did.NotBegun(p)
		e.Error, e.Hints = err.Error(), fault.Remedies(err)
	}
	v.print(e)
}
