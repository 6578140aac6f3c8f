package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/provider/transfer"

	"github.com/stead-vm/stead/reconcile"
)

// view returns the view for a terminal or, with json, for a program.
func (a *app) view(json bool) project.View {
	if json {
		return &jsonView{w: a.out, now: time.Now, warn: a.warn}
	}
	return &humanView{app: a, bars: a.newProgress()}
}

// humanView writes plans and outcomes to standard output, and progress to standard error.
type humanView struct {
	app  *app
	bars *progress
}

// Event implements [project.View].
func (v *humanView) Event(e reconcile.Event) { v.bars.engineEvent(e) }

// Progress implements [project.View].
func (v *humanView) Progress(id string) transfer.Progress { return v.bars.event(id) }

// Warn implements [project.View].
func (v *humanView) Warn(text string) { v.app.warn(text) }

// Waiting implements [project.View].
func (v *humanView) Waiting(id string, services []string) {
	if v.bars.bars != nil {
		v.bars.line("Waiting for the services of " + id + ": " + strings.Join(services, ", ") + " ...")
	}
}

// Late implements [project.View].
func (v *humanView) Late(ids []string) { v.bars.line(lateText(ids)) }

// lateText says that services were not waited for any longer.
func lateText(ids []string) string {
	return fmt.Sprintf("The services of %s are still starting. Run \"stead apply --wait\" to wait for them.", strings.Join(ids, ", "))
}

// Interrupted implements [project.View].
func (v *humanView) Interrupted() {
	v.bars.line("Interrupted: finishing or undoing the running steps. Press Ctrl-C again to stop at once; the next apply continues from there.")
}

// Plan prints the plan in the colours of its symbols.
func (v *humanView) Plan(plan reconcile.Plan) {
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

// Outcome implements [project.View].
func (v *humanView) Outcome(plan reconcile.Plan, did reconcile.Outcome, err error) {
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
		fmt.Fprintf(v.app.out, "%s %s.\n", style.change("Not started:"), strings.Join(ids, ", "))
	}
	fmt.Fprintf(v.app.out, "Run \"stead apply\" to continue, \"stead plan\" to see what is left.\n")
}

// doneWords are the words for actions that were done.
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

// pastTense is the word for an action that was done.
func pastTense(action reconcile.Action) string {
	for _, w := range doneWords {
		if slices.Contains(w.actions, action) {
			return w.word
		}
	}
	return action.String()
}
