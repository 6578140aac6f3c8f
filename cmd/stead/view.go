package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
)

// view shows what is planned and done. There is one for people and one for programs.
type view interface {
	// plan shows what would change.
	plan(p reconcile.Plan)
	// event and progress show what happens. They are called by several goroutines.
	event(e reconcile.Event)
	progress(id string) image.Progress
	// interrupted says that the running steps are being ended.
	interrupted()
	// outcome says what was done, what was not, and how to go on. Errors are printed
	// elsewhere.
	outcome(p reconcile.Plan, did reconcile.Outcome, err error)
}

// view is the one that the user wants.
func (a *app) view(json bool) view {
	if json {
		return &jsonView{w: a.out, now: time.Now}
	}
	return &humanView{app: a, bars: a.newProgress()}
}

// humanView writes plans and outcomes to standard output, and what passes to standard
// error.
type humanView struct {
	app  *app
	bars *progress
}

func (v *humanView) event(e reconcile.Event)           { v.bars.engineEvent(e) }
func (v *humanView) progress(id string) image.Progress { return v.bars.event(id) }

func (v *humanView) interrupted() {
	v.bars.line("Interrupted: ending the running steps. Interrupt again to stop at once; the next apply continues from there.")
}

// plan prints the plan in the colours of its symbols.
func (v *humanView) plan(plan reconcile.Plan) {
	style := styles(v.app.out)
	for line := range strings.Lines(reconcile.Text(plan)) {
		text, end := strings.CutSuffix(line, "\n")
		switch symbol, _, _ := strings.Cut(strings.TrimLeft(text, " "), " "); {
		case !strings.Contains(text, "machine."):
		case symbol == "+":
			text = style.add(text)
		case symbol == "~" || symbol == "!":
			text = style.change(text)
		case symbol == "-" || symbol == "-/+":
			text = style.remove(text)
		}
		fmt.Fprint(v.app.out, text)
		if end {
			fmt.Fprintln(v.app.out)
		}
	}
}

func (v *humanView) outcome(plan reconcile.Plan, did reconcile.Outcome, err error) {
	v.bars.wait()
	if plan.Empty() {
		return
	}
	style := styles(v.app.out)
	var parts []string
	for _, w := range doneWords {
		if n := did.Count(w.actions...); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w.word))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(v.app.out, "\n%s %s.\n", style.add("Done:"), strings.Join(parts, ", "))
	}
	if err == nil {
		return
	}
	if len(parts) == 0 {
		fmt.Fprintln(v.app.out)
	}
	if ids := did.Failed(); len(ids) > 0 {
		how := "Failed:"
		if v.app.interrupted(err) {
			how = "Interrupted:"
		}
		fmt.Fprintf(v.app.out, "%s %s.\n", style.remove(how), strings.Join(ids, ", "))
	}
	if ids := did.NotBegun(plan); len(ids) > 0 {
		fmt.Fprintf(v.app.out, "%s %s.\n", style.change("Not begun:"), strings.Join(ids, ", "))
	}
	fmt.Fprintf(v.app.out, "\"stead apply\" continues from here; \"stead plan\" shows what is left.\n")
}

// doneWords say what was done, an action a word.
var doneWords = []struct {
	word    string
	actions []reconcile.Action
}{
	{"created", []reconcile.Action{reconcile.Create}},
	{"updated", []reconcile.Action{reconcile.Update, reconcile.Reconfigure}},
	{"restarted", []reconcile.Action{reconcile.Restart}},
	{"moved", []reconcile.Action{reconcile.Move}},
	{"started", []reconcile.Action{reconcile.Start}},
	{"stopped", []reconcile.Action{reconcile.Stop}},
	{"repaired", []reconcile.Action{reconcile.Repair}},
	{"replaced", []reconcile.Action{reconcile.Replace}},
	{"deleted", []reconcile.Action{reconcile.Delete}},
}
