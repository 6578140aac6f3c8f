// Package transfer downloads files and blobs. It resumes where the server supports that,
// verifies digests and reports progress. Both images and kernels use it.
package transfer

import (
	"context"
	"io"
	"sync"
)

// Action is the kind of work that an [Event] reports.
type Action string

// Actions that take long enough to show progress.
const (
	ActionPull  Action = "pull"  // a blob comes into the store
	ActionKeep  Action = "keep"  // a blob was there already
	ActionDisk  Action = "disk"  // layers become a disk
	ActionBuild Action = "build" // a builder makes an image
)

// Event reports the progress of one action.
type Event struct {
	ID             string // a blob's short digest, "disk", or the builder's name
	Action         Action
	Current, Total int64  // bytes; of a build they are not known
	Text           string // a line of the builder's output
	Done           bool   // the last event of this ID
}

// Progress receives events, one at a time. A nil Progress as a parameter is allowed.
type Progress func(Event)

// step is the number of bytes between two events.
const step = 1 << 20

// Serial returns p, safe to call from several goroutines. It accepts nil.
func (p Progress) Serial() Progress {
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

// Meter counts what was read towards Event.Total and reports it now and then.
type Meter struct {
	Event
	Report   Progress // required
	reported int64

	mu sync.Mutex // layers may be read at the same time
}

// Add counts n more bytes.
func (m *Meter) Add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Current += int64(n)
	if m.Current-m.reported >= step {
		m.reported = m.Current
		m.Report(m.Event)
	}
}

// Finish reports that all is done.
func (m *Meter) Finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Current, m.Done = m.Total, true
	m.Report(m.Event)
}

// begin continues the count at n bytes.
func (m *Meter) begin(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Current, m.reported = n, n
}

// Reader returns r, counted by the meter.
func (m *Meter) Reader(r io.Reader) io.Reader { return meteredReader{r, m} }

type meteredReader struct {
	io.Reader
	meter *Meter
}

func (r meteredReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.meter.Add(n)
	return n, err
}

// Reader returns r, which fails once ctx has ended.
func Reader(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// ShortID returns as much of a digest as people compare, as docker shortens them.
func ShortID(digest string) string {
	const prefix, chars = len("sha256:"), 12
	if len(digest) < prefix+chars {
		return digest
	}
	return digest[prefix : prefix+chars]
}
