package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/printable"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/transfer"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/stead-vm/stead/reconcile"
)

// progress shows long operations: bars on a terminal, a line for each finished step
// elsewhere.
type progress struct {
	w           *printer
	bars        *mpb.Progress    // nil: lines
	interrupted func(error) bool // reports whether an interrupt made something fail

	mu       sync.Mutex
	open     map[string]*mpb.Bar
	machines map[string]*machineLine
	last     sync.Map // of a build, by its key in open: the line that its builder printed last
}

func (a *app) newProgress() *progress {
	p := &progress{w: a.err, interrupted: a.interrupted, open: map[string]*mpb.Bar{}, machines: map[string]*machineLine{}}
	if isTerminal(p.w) {
		p.bars = mpb.New(mpb.WithOutput(p.w.raw), mpb.WithWidth(48))
	}
	return p
}

// event shows the events of one machine or image.
func (p *progress) event(name string) transfer.Progress {
	return func(e transfer.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.bars == nil {
			p.eventLine(name, e)
			return
		}
		key := name + " " + string(e.Action) + " " + e.ID
		p.last.Store(key, printable.Text(e.Text))
		bar := p.open[key]
		if bar == nil {
			bar = p.bar(key, printable.Text(name+": "+doing(e)+" "), e)
			p.open[key] = bar
		}
		bar.SetTotal(e.Total, false)
		bar.SetCurrent(e.Current)
		if e.Done {
			bar.SetTotal(-1, true)
			delete(p.open, key)
		}
	}
}

// bar begins to show a long operation: how much of it is done, or, of a build,
// what its builder says.
func (p *progress) bar(key, title string, e transfer.Event) *mpb.Bar {
	head := mpb.PrependDecorators(decor.Name(title))
	if e.Action != transfer.ActionBuild {
		return p.bars.AddBar(e.Total, mpb.BarRemoveOnComplete(), head,
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	}
	said := decor.Any(func(decor.Statistics) string {
		line, _ := p.last.Load(key)
		text, _ := line.(string)
		return text
	})
	return p.bars.New(0, mpb.NopStyle(), mpb.BarRemoveOnComplete(), head, mpb.AppendDecorators(said))
}

// eventLine shows an event where there are no bars: what is done, and all that a builder
// says.
func (p *progress) eventLine(name string, e transfer.Event) {
	switch {
	case e.Text != "":
		fmt.Fprintf(p.w, "%s: %s: %s\n", name, e.ID, e.Text)
	case e.Done && e.Action == transfer.ActionBuild:
		fmt.Fprintf(p.w, "%s: %s\n", name, done(e))
	case e.Done:
		fmt.Fprintf(p.w, "%s: %s (%s)\n", name, done(e), size.Measured(e.Total))
	}
}

// actionWords say what an action does, and what it did, to a blob or with a builder.
var actionWords = map[transfer.Action]struct{ doing, done string }{
	transfer.ActionPull:  {"pulling %s", "pulled %s"},
	transfer.ActionKeep:  {"checking %s", "already pulled %s"},
	transfer.ActionDisk:  {"creating %s", "created %s"},
	transfer.ActionBuild: {"building with %s", "built with %s"},
}

func doing(e transfer.Event) string { return fmt.Sprintf(actionWords[e.Action].doing, e.ID) }
func done(e transfer.Event) string  { return fmt.Sprintf(actionWords[e.Action].done, e.ID) }

// machineLine is the line of a machine that the engine works on.
type machineLine struct {
	bar    *mpb.Bar // nil where there are no bars
	action reconcile.Action
	since  time.Time

	mu   sync.Mutex
	step string
}

// text is the machine's line: what is being done, and for how long already.
func (w *machineLine) text(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return printable.Text(fmt.Sprintf("%s: %s (%s)", id, w.step, took(w.since)))
}

func took(since time.Time) time.Duration { return time.Since(since).Round(time.Second) }

// engineEvent shows how far the engine is: for a person a line for each machine that is
// worked on, and one that stays when it is done; otherwise a line for each step.
func (p *progress) engineEvent(e reconcile.Event) {
	p.mu.Lock()
	w := p.machines[e.ID]
	if w == nil {
		w = &machineLine{action: e.Action, since: time.Now(), step: e.Action.String()}
		p.machines[e.ID] = w
		if p.bars != nil {
			w.bar = p.bars.New(0, mpb.NopStyle(), mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return w.text(e.ID) })))
		}
	}
	p.mu.Unlock()
	switch e.Kind {
	case reconcile.Began:
	case reconcile.Stepped:
		w.mu.Lock()
		w.step = e.Step
		w.mu.Unlock()
		if p.bars == nil {
			p.line(fmt.Sprintf("%s: %s", e.ID, e.Step))
		}
	case reconcile.Done:
		p.end(e.ID, w, pastTense(w.action))
	case reconcile.Failed:
		how := "failed"
		if p.interrupted(e.Err) {
			how = "interrupted"
		}
		p.end(e.ID, w, w.action.String()+" "+how)
	}
}

// end takes a machine's line away and leaves one that says how it ended.
func (p *progress) end(id string, w *machineLine, how string) {
	if w.bar != nil {
		w.bar.SetTotal(-1, true)
	}
	p.mu.Lock()
	delete(p.machines, id)
	p.mu.Unlock()
	p.line(fmt.Sprintf("%s: %s (%s)", id, how, took(w.since)))
}

// line prints a line above the bars.
func (p *progress) line(text string) {
	if p.bars == nil {
		fmt.Fprintln(p.w, text)
		return
	}
	_, _ = p.bars.Write([]byte(printable.Text(text) + "\n"))
}

// wait ends the bars; what did not finish is taken away.
func (p *progress) wait() {
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, bar := range p.open {
		bar.Abort(true)
	}
	for _, w := range p.machines {
		w.bar.Abort(true)
	}
	p.mu.Unlock()
	p.bars.Wait()
}
