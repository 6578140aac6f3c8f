package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
)

// progress shows what takes time: bars for a person, a line for each finished step
// otherwise.
type progress struct {
	w    io.Writer
	bars *mpb.Progress // nil: lines

	mu   sync.Mutex
	open map[string]*mpb.Bar
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, open: map[string]*mpb.Bar{}}
	if isTerminal(w) {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))
	}
	return p
}

// event shows the events of one machine or image.
func (p *progress) event(name string) image.Progress {
	return func(e image.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		key := name + " " + string(e.Action) + " " + e.ID
		if p.bars == nil {
			if e.Done {
				fmt.Fprintf(p.w, "%s: %s %s (%s)\n", name, e.Action, e.ID, size(e.Total))
			}
			return
		}
		bar := p.open[key]
		if bar == nil {
			bar = p.bars.AddBar(e.Total, mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(name+": "+string(e.Action)+" "+e.ID+" ")),
				mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
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

// engineEvent shows how far the engine is: a line for each step.
func (p *progress) engineEvent(e reconcile.Event) {
	switch e.Kind {
	case reconcile.Stepped:
		p.line(fmt.Sprintf("%s: %s", e.ID, e.Step))
	case reconcile.Done:
		p.line(fmt.Sprintf("%s: %s done", e.ID, e.Action))
	case reconcile.Failed:
		p.line(fmt.Sprintf("%s: %s failed", e.ID, e.Action))
	case reconcile.Began:
	}
}

// line prints a line above the bars.
func (p *progress) line(text string) {
	if p.bars == nil {
		fmt.Fprintln(p.w, text)
		return
	}
	_, _ = p.bars.Write([]byte(text + "\n"))
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
	p.mu.Unlock()
	p.bars.Wait()
}
