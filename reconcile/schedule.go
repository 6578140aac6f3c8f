package reconcile

import (
	"errors"
	"slices"
)

// schedule says which changes are worked on at the same time. A change begins when those
// that it comes after are done and there is room for it: machines that boot side by side
// must not drive the host into its swap. Of those that can begin the first in the plan
// does.
type schedule struct {
	changes []Change
	errs    []error
	begun   []bool
	ended   map[string]error // of the changes that have ended, by ID
	planned map[string]bool

	running int   // changes
	memory  int64 // bytes of the running ones
	o       Options
}

func newSchedule(changes []Change, o Options) *schedule {
	s := &schedule{
		changes: changes, errs: make([]error, len(changes)), begun: make([]bool, len(changes)),
		ended: map[string]error{}, planned: map[string]bool{}, o: o,
	}
	for _, c := range changes {
		s.planned[c.ID] = true
	}
	return s
}

// carryOut has work done on every change, and returns their errors in the plan's order.
func (s *schedule) carryOut(work func(Change) error) []error {
	type end struct {
		i   int
		err error
	}
	ends := make(chan end)
	for slices.Contains(s.begun, false) || s.running > 0 {
		for i := s.next(); i >= 0; i = s.next() {
			s.begin(i)
			if on := s.failedBefore(i); on != "" {
				c := s.changes[i]
				s.end(i, &ChangeError{ID: c.ID, Action: c.Action, Err: &SkippedError{On: on, Err: s.ended[on]}})
				continue
			}
			go func() { ends <- end{i, work(s.changes[i])} }()
		}
		if s.running == 0 {
			s.deadlock()
			break
		}
		e := <-ends
		s.end(e.i, e.err)
	}
	return s.errs
}

// deadlock ends changes that wait for each other: no plan of ours has them, but a plan can
// come from a file.
func (s *schedule) deadlock() {
	for i, c := range s.changes {
		if !s.begun[i] {
			s.errs[i] = &ChangeError{ID: c.ID, Action: c.Action, Err: errors.New("it waits for a machine that waits for it")}
		}
	}
}

// next is the first change that can begin, or -1.
func (s *schedule) next() int {
	for i, c := range s.changes {
		if !s.begun[i] && s.ready(c) && s.fits(c) {
			return i
		}
	}
	return -1
}

func (s *schedule) ready(c Change) bool {
	for _, id := range c.After {
		if _, ended := s.ended[id]; s.planned[id] && !ended {
			return false
		}
	}
	return true
}

// fits tells whether there is room for c. What is too large for the host is tried alone.
func (s *schedule) fits(c Change) bool {
	return s.running == 0 || s.running < s.o.Parallelism && (s.o.Memory <= 0 || s.memory+c.memory() <= s.o.Memory)
}

// memory is what the machine will take of the host because of the change, in bytes.
func (c *Change) memory() int64 {
	if c.Action == None || c.Want == nil || c.Stopped {
		return 0
	}
	return c.Want.Memory
}

// failedBefore is a change that i comes after and that has failed, or "".
func (s *schedule) failedBefore(i int) string {
	for _, id := range s.changes[i].After {
		if s.ended[id] != nil {
			return id
		}
	}
	return ""
}

func (s *schedule) begin(i int) {
	s.begun[i] = true
	s.running++
	s.memory += s.changes[i].memory()
}

func (s *schedule) end(i int, err error) {
	s.errs[i] = err
	s.ended[s.changes[i].ID] = err
	s.running--
	s.memory -= s.changes[i].memory()
}
