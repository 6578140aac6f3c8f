package share

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestSlowRequestsAreReportedNowAndThen(t *testing.T) {
	var log bytes.Buffer
	s := &server{opts: Options{Dir: "/home/me", Log: slog.New(slog.NewTextHandler(&log, nil))}}
	for range 100 {
		s.reportSlow()
	}
	if n := strings.Count(log.String(), "takes long"); n != 1 || !strings.Contains(log.String(), "/home/me") {
		t.Errorf("reported %d times:\n%s", n, log.String())
	}
}
