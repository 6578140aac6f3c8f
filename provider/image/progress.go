package image

import (
	"io"
	"sync"
)

// Action is what an [Event] is about.
type Action string

// Actions that take long enough to be shown.
const (
	ActionPull  Action = "pull"  // a blob comes into the store
	ActionKeep  Action = "keep"  // a blob was there already
	ActionDisk  Action = "disk"  // layers become a disk
	ActionBuild Action = "build" // a builder makes an image
)

// Event tells how far something is.
type Event struct {
	ID             string // a blob's short digest, "disk", or the builder's name
	Action         Action
	Current, Total int64  // bytes; of a build they are not known
	Text           string // a line of the builder's output
	Done           bool   // the last event of this ID
}

// Progress receives events, one at a time. It may be nil where it is a parameter.
type Progress func(Event)

// step is how many bytes make a new event worthwhile.
const step = 1 << 20

// oneAtATime makes p safe for the parallel work behind it.
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

// meter counts what was read towards Event.Total and reports it now and then.
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

// metered is a reader that tells a meter.
type metered struct {
	io.Reader
	*meter
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.add(n)
	return n, err
}

// shortID is enough of a digest for people, as docker shortens them.
func shortID(digest string) string {
	const prefix, chars = len("sha256:"), 12
	if len(digest) < prefix+chars {
		return digest
	}
	return digest[prefix : prefix+chars]
}
