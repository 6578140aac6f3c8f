package reconcile

import (
	"errors"
	"slices"
)

// schedule starts the changes of a plan. A change starts when the changes in its After are
// done and the limits allow it: machines that boot at the same time must not make the host
// swap. If several can start, the first in the plan does.
type schedule struct {
	changes []Change
	errs    []error
	begun   []bool
	ended   map[string]error // of the changes that have ended, by ID
	planned map[string]bool

	running int   // number of running changes
	memory  int64 // bytes that they need
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

// carryOut calls work for every change and returns the errors in the plan's order.
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

// deadlock ends changes that wait for each other. [Diff] plans no such changes, but a plan
// may come from a file.
func (s *schedule) deadlock() {
	for i, c := range s.changes {
		if !s.begun[i] {
			s.errs[i] = &ChangeError{ID: c.ID, Action: c.Action, Err: errors.New("its dependencies form a cycle")}
		}
	}
}

// next returns the index of the first change that can start, or -1.
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

// fits reports whether the limits allow c to start. A change above the memory limit runs alone.
func (s *schedule) fits(c Change) bool {
	return s.running == 0 || s.running < s.o.Parallelism && (s.o.Memory <= 0 || s.memory+c.memory() <= s.o.Memory)
}

// memory returns how much memory of the host the change will use, in bytes.
func (c *Change) memory() int64 {
	if c.Action == None || c.Want == nil || c.Stopped {
		return 0
	}
	return c.Want.Memory
}

// failedBefore returns the ID of a failed change that change i comes after, or "".
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
