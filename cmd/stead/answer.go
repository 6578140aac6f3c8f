package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/printable"
	"github.com/stead-vm/stead/provider/supervisor"
)

// answerPatience is how long a machine may take to answer before the user sees what the
// command waits for; on a terminal, which shows it in a line that goes away, statusEvery.
// heardTimeout bounds the request for what is known of the machine.
const (
	answerPatience = 5 * time.Second
	statusEvery    = time.Second
	heardTimeout   = time.Second
)

// noAnswerError reports a machine that did not answer in time.
type noAnswerError struct {
	id    string
	after time.Duration
	heard string
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("machine %s did not answer within %s: %s", e.id, e.after, e.heard)
}

func (e *noAnswerError) Remedy() string {
	return fmt.Sprintf(`run "stead logs %s" to read its console, or "stead stop --force %s" to cut its power`, e.id, e.id)
}

// answer is what a command waits for.
type answer struct {
	stop    context.CancelFunc
	ended   sync.WaitGroup
	hopeful sync.Once
	late    chan struct{}
}

// patience is the time that a machine has to answer. The zero value is no limit.
type patience struct {
	limit time.Duration // as the user gave it
	left  time.Duration // of it
}

// awaitAnswer says what is waited for if the machine does not answer soon, and calls giveUp
// if it does not answer in time.
func (a *app) awaitAnswer(id string, p patience, giveUp func(error)) *answer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &answer{stop: cancel, late: make(chan struct{})}
	w.ended.Go(func() {
		n := a.newNotice(id)
		defer n.clear()
		var limit <-chan time.Time
		if p.limit > 0 {
			limit = time.After(p.left)
		}
		due, late := time.After(n.patience()), w.late
		for {
			select {
			case <-ctx.Done():
				return
			case <-due:
			case <-late:
			case <-limit:
				if heard := a.lastHeard(ctx, id); ctx.Err() == nil {
					n.clear()
					giveUp(&noAnswerError{id: id, after: p.limit, heard: heard})
				}
				return
			}
			due, late = n.next(), nil
			if heard := a.lastHeard(ctx, id); ctx.Err() == nil {
				n.show(heard)
			}
		}
	})
	return w
}

// notice says what a command waits for: in a line of a terminal that is kept up to date and goes
// away, else once.
type notice struct {
	id   string
	line *statusLine // nil: not on a terminal
	w    io.Writer
}

func (a *app) newNotice(id string) *notice {
	return &notice{id: id, line: newStatusLine(a.err), w: a.err}
}

// patience returns the time until the first text.
func (n *notice) patience() time.Duration {
	if n.line != nil {
		return statusEvery
	}
	return answerPatience
}

// next returns the time of the next text, or nil if there is none.
func (n *notice) next() <-chan time.Time {
	if n.line != nil {
		return time.After(statusEvery)
	}
	return nil
}

func (n *notice) show(heard string) {
	text := fmt.Sprintf("Waiting for machine %s to answer: %s. Press Ctrl-C to give up.", n.id, heard)
	if n.line != nil {
		n.line.show(text)
	} else {
		fmt.Fprintln(n.w, text)
	}
}

func (n *notice) clear() {
	if n.line != nil {
		n.line.clear()
	}
}

// unlikely says at once what is waited for.
func (w *answer) unlikely() { w.hopeful.Do(func() { close(w.late) }) }

// received ends the wait. Afterwards nothing is printed any more, and giveUp is not called.
func (w *answer) received() {
	w.stop()
	w.ended.Wait()
}

// lastHeard says what is known of a machine that does not answer.
func (a *app) lastHeard(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	st, err := a.provider.Machines.Supervisor(id).Status(ctx, "")
	switch {
	case err != nil:
		return "its supervisor does not answer either"
	case st.State == supervisor.StateUnreachable:
		return "it has been unreachable since " + since(st.Heard)
	case st.State != supervisor.StateRunning:
		return "it is " + st.Description()
	case st.Heard.IsZero():
		return "it has not answered since it booted"
	}
	return fmt.Sprintf("it last answered %s ago", time.Since(st.Heard).Round(time.Second))
}

// since returns a time of the past and how long ago that was: "12:03:05 (2m0s)".
func since(t time.Time) string {
	return fmt.Sprintf("%s (%s)", printable.Clock(t), time.Since(t).Round(time.Second))
}
