package image

import (
	"io"
	"sync"
)

// Action is the kind of work that an [Event] reports.
type Action string

// Actions that take long enough to show progress.
const (
	ActionPull  Action = "pull"  // download a blob into the store
	ActionKeep  Action = "keep"  // a blob already exists
	ActionDisk  Action = "disk"  // create a disk from layers
	ActionBuild Action = "build" // build an image
)

// Event reports the progress of one action.
type Event struct {
	ID             string // a blob's short digest, "disk", or the builder's name
	Action         Action
	Current, Total int64  // bytes; unknown for a build
	Text           string // a line of the builder's output
	Done           bool   // the last event of this ID
}

// Progress receives events, one at a time. A nil Progress as a parameter is allowed.
type Progress func(Event)

// step is the number of bytes between two events.
const step = 1 << 20

// oneAtATime returns a Progress that serializes calls of p, which may be nil.
func (p Progress) oneAtATime() Progress {
	if p == nil {
		return func(Event) {}
	}
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		p(e)
	}
}

// meter counts the bytes read towards Event.Total and reports them in steps.
type meter struct {
	Event
	report   Progress
	reported int64

	mu sync.Mutex // layers may be read at the same time
}

func (m *meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Current += int64(n)
	if m.Current-m.reported >= step {
		m.reported = m.Current
		m.report(m.Event)
	}
}

func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Current, m.Done = m.Total, true
	m.report(m.Event)
}

// metered is a reader that adds what it reads to a meter.
type metered struct {
	io.Reader
	*meter
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.add(n)
	return n, err
}

// shortID shortens a digest for display, as Docker does.
func shortID(digest string) string {
	const prefix, chars = len("sha256:"), 12
	if len(digest) < prefix+chars {
		return digest
	}
	return digest[prefix : prefix+chars]
}
