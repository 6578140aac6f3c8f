package reconcile

import (
	"fmt"
	"slices"
	"time"
)

// part divides a plan: what is done now, and what waits for a person. The rest of it is
// tried later. Machines that need nothing are in what is done.
func (l *watch) part(p Plan, now time.Time) (do, waiting Plan) {
	held := map[string]hold{}
	for _, c := range p.Changes {
		switch {
		case c.Action == None:
		case c.Action.LosesDisk(), c.DriftOnly && !l.o.RepairDrift:
			held[c.ID] = forPerson
		case l.tries.wait(c, now) > 0:
			held[c.ID] = forTime
		}
	}
	for spread := true; spread; {
		spread = false
		for _, c := range p.Changes {
			if c.Action == None || held[c.ID] != free || c.Have != nil && active(c.Have) {
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
		case forPerson:
			waiting.Changes = append(waiting.Changes, c)
		case forTime:
		}
	}
	do.Drift, waiting.Drift = driftOf(p.Drift, do.Changes), driftOf(p.Drift, waiting.Changes)
	return do, waiting
}

// hold is why a change is not made now.
type hold uint8

const (
	free      hold = iota // it is made now
	forTime               // it was tried a short time ago
	forPerson             // it is for a person to decide
)

// driftOf is the part of drift that is about changes.
func driftOf(drift []Drift, changes []Change) []Drift {
	var part []Drift
	for _, d := range drift {
		if slices.ContainsFunc(changes, func(c Change) bool { return c.ID == d.ID && c.Action != None }) {
			part = append(part, d)
		}
	}
	return part
}

// wants are what notes are taken of.
func (p Plan) wants() []string {
	var wants []string
	for _, c := range p.Changes {
		if c.Want != nil {
			want := *c.Want
			want.Build = nil // its reference tells one build from another
			wants = append(wants, fmt.Sprintf("%+v %v", want, c.Stopped))
		}
	}
	return wants
}

// signature tells one change from another. What a disk holds is no part of it: that
// changes all the time.
func (c *Change) signature() string {
	return fmt.Sprint(c.ID, c.Action, c.Attrs, c.From, c.Stopped, c.DriftOnly)
}

// tries are the changes that were tried, by ID. Without them a machine that fails, or that
// does not stay as it is made, would be worked on without a pause.
type tries map[string]try

type try struct {
	change string // its signature
	failed bool
	times  int
	at     time.Time // of the last
}

// The pauses between tries double from the least to the most.
const (
	leastPause = time.Second
	mostPause  = 5 * time.Minute
)

// backoff is the pause after so many tries that have failed. After none it is as good as
// none.
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

// wait is how long a change has to wait; 0: it has not.
func (t tries) wait(c Change, now time.Time) time.Duration {
	last, tried := t[c.ID]
	if !tried || last.times == 0 || last.change != c.signature() {
		return 0
	}
	return max(0, last.at.Add(backoff(last.times)).Sub(now))
}

// note remembers what was tried. What was not begun was not.
func (t tries) note(p Plan, err error, now time.Time) {
	failed := failures(err)
	for _, c := range p.Changes {
		if c.Action == None || err != nil && !failed[c.ID] {
			continue
		}
		last := t[c.ID]
		if last.change != c.signature() || now.Sub(last.at) > 2*mostPause {
			last.times = 0
		}
		t[c.ID] = try{change: c.signature(), failed: failed[c.ID], times: last.times + 1, at: now}
	}
}

// settle forgets machines that the plan does not have.
func (t tries) settle(p Plan) {
	for id := range t {
		if !slices.ContainsFunc(p.Changes, func(c Change) bool { return c.ID == id }) {
			delete(t, id)
		}
	}
}

// hasten has all that failed be tried at once: what it failed for may be other by now.
func (t tries) hasten() {
	for id, last := range t {
		if last.failed {
			delete(t, id)
		}
	}
}

// next is when the first of the plan's changes that wait for their time is to be tried;
// 0: there is none.
func (t tries) next(p Plan, now time.Time) time.Duration {
	var next time.Duration
	for _, c := range p.Changes {
		if wait := t.wait(c, now); c.Action != None && wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}
