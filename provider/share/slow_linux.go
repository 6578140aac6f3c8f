package share

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// slowRequest is how long a request may take before the log says so. A file system of the
	// host that hangs, such as that of a dead server, lets requests hang, and with enough of them
	// the share.
	slowRequest = 10 * time.Second
	// slowReports is the pause between two such messages.
	slowReports = time.Minute
)

// slowness watches for requests that take long. A timer for each request would cost more than
// most requests.
type slowness struct {
	log *slog.Logger
	dir string

	mu       sync.Mutex // guards what follows
	last     uint64     // number of the last request
	running  map[uint64]time.Time
	reported time.Time
}

// begin returns the number with which the request must end.
func (s *slowness) begin() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.running[s.last] = time.Now()
	return s.last
}

func (s *slowness) end(request uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, request)
}

// watch reports slow requests until ctx ends.
func (s *slowness) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(slowRequest / 2):
			s.report(time.Now())
		}
	}
}

// report logs that a request takes long, if one does.
func (s *slowness) report(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reported.IsZero() && now.Sub(s.reported) < slowReports {
		return
	}
	for _, began := range s.running {
		if now.Sub(began) >= slowRequest {
			s.reported = now
			s.log.Warn("a request to the shared directory takes long; does a file system below it hang?", "dir", s.dir, "duration", slowRequest)
			return
		}
	}
}
