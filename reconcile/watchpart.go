package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// part splits a plan into the changes to make now and those that wait for approval. Changes
// that were tried a short time ago are in neither. Machines that need no change are in do.
func (l *watch) part(p Plan, now time.Time) (do, waiting Plan) {
	held := map[string]hold{}
	for _, c := range p.Changes {
		switch {
		case c.Action == None:
		case c.Action.LosesDisk(), c.DriftOnly && !l.o.RepairDrift, !l.given.covers(&c):
			held[c.ID] = forApproval
		case l.tries.wait(c, now) > 0:
			held[c.ID] = forRetry
		}
	}
	for spread := true; spread; {
		spread = false
		for _, c := range p.Changes {
			if c.Action == None || held[c.ID] != free || c.Have != nil && c.Have.Active() {
				continue
			}
			for _, on := range c.After {
				held[c.ID] = max(held[c.ID], held[on])
			}
			spread = spread || held[c.ID] != free
		}
	}
	for _, c := range p.Changes {
		switch held[c.ID] {
		case free:
			do.Changes = append(do.Changes, c)
		case forApproval:
			waiting.Changes = append(waiting.Changes, c)
		case forRetry:
		}
	}
	do.Drift, waiting.Drift = driftOf(p.Drift, do.Changes), driftOf(p.Drift, waiting.Changes)
	return do, waiting
}

// hold is the reason why a change is not made now.
type hold uint8

const (
	free        hold = iota // the change is made now
	forRetry                // it was tried a short time ago
	forApproval             // it needs approval
)

// driftOf returns the drift of the machines in changes.
func driftOf(drift []Drift, changes []Change) []Drift {
	var part []Drift
	for _, d := range drift {
		if slices.ContainsFunc(changes, func(c Change) bool { return c.ID == d.ID && c.Action != None }) {
			part = append(part, d)
		}
	}
	return part
}

// wants returns the goals that an apply of the plan records, as text.
func (p Plan) wants() []string {
	var wants []string
	for _, c := range p.Changes {
		if c.Want != nil {
			want := *c.Want
			want.Build = nil // the image reference identifies the build
			wants = append(wants, fmt.Sprintf("%+v %v", want, c.Stopped))
		}
	}
	return wants
}

// signature identifies a change. Disk usage is left out, because it changes all the time.
func (c *Change) signature() string {
	return fmt.Sprint(c.ID, c.Action, c.Attrs, c.From, c.Stopped, c.DriftOnly)
}

// attempts holds the changes that were tried, by ID. They space out tries for a machine that
// fails, or that drifts again after each change.
type attempts map[string]attempt

type attempt struct {
	change string // its signature
	failed bool
	times  int       // consecutive tries of this change
	at     time.Time // of the last try
}

// Limits of the pause between tries, which doubles with each try.
const (
	leastPause = time.Second
	mostPause  = 5 * time.Minute
)

// backoff returns the pause after the given number of tries. It is never 0, which would mean
// no further try.
func backoff(times int) time.Duration {
	if times == 0 {
		return time.Nanosecond
	}
	pause := leastPause
	for range times - 1 {
		if pause *= 2; pause >= mostPause {
			return mostPause
		}
	}
	return pause
}

// wait returns how long to wait before the next try of a change, or 0 for no wait.
func (t attempts) wait(c Change, now time.Time) time.Duration {
	last, tried := t[c.ID]
	if !tried || last.times == 0 || last.change != c.signature() {
		return 0
	}
	return max(0, last.at.Add(backoff(last.times)).Sub(now))
}

// note records the changes that were tried. Changes that were not started do not count.
func (t attempts) note(p Plan, err error, now time.Time) {
	failed := failures(err)
	for _, c := range p.Changes {
		if c.Action == None || err != nil && !failed[c.ID] {
			continue
		}
		last := t[c.ID]
		if last.change != c.signature() || now.Sub(last.at) > 2*mostPause {
			last.times = 0
		}
		t[c.ID] = attempt{change: c.signature(), failed: failed[c.ID], times: last.times + 1, at: now}
	}
}

// settle removes machines that are not in the plan.
func (t attempts) settle(p Plan) {
	for id := range t {
		if !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.ID == id }) {
			delete(t, id)
		}
	}
}

// hasten makes all failed changes due at once, because a changed file may have fixed the cause.
func (t attempts) hasten() {
	for id, last := range t {
		if last.failed {
			delete(t, id)
		}
	}
}

// next returns the time until the next try of one of the plan's changes, or 0 if none waits.
func (t attempts) next(p Plan, now time.Time) time.Duration {
	var next time.Duration
	for _, c := range p.Changes {
		if wait := t.wait(c, now); c.Action != None && wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}
