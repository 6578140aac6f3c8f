package share

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSlowRequestsAreReportedNowAndThen(t *testing.T) {
	var log bytes.Buffer
	s := slowness{dir: "/home/me", log: slog.New(slog.NewTextHandler(&log, nil)), running: map[uint64]time.Time{}}
	now := time.Now()
	slow := s.begin()
	s.report(now.Add(slowRequest / 2))
	if log.Len() > 0 {
		t.Errorf("reported too early:\n%s", log.String())
	}
	for i := range 100 {
		s.end(s.begin())
		s.report(now.Add(2*slowRequest + time.Duration(i)*time.Millisecond))
	}
	if n := strings.Count(log.String(), "takes long"); n != 1 || !strings.Contains(log.String(), "/home/me") {
		t.Errorf("reported %d times:\n%s", n, log.String())
	}
	s.end(slow)
	s.report(now.Add(time.Hour))
	if n := strings.Count(log.String(), "takes long"); n != 1 {
		t.Errorf("reported %d times, also after the request had ended:\n%s", n, log.String())
	}
}
