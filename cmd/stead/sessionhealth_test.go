package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/supervisor"
)

// The letters of a history are the answers of a supervisor, one for each request: r is running,
// p is paused, b is booting, s is silence, g is a supervisor that is gone.
func answerOf(ctx context.Context, letter byte) (supervisor.Status, error) {
	switch letter {
	case 'p':
		return supervisor.Status{State: supervisor.StatePaused, Problem: "the host's disk is full"}, nil
	case 'b':
		return supervisor.Status{State: supervisor.StateBooting}, nil
	case 's':
		<-ctx.Done()
		return supervisor.Status{}, ctx.Err()
	case 'g':
		return supervisor.Status{}, errors.New("connection refused")
	}
	return supervisor.Status{State: supervisor.StateRunning}, nil
}

func TestSessionSaysWhatIsTheMatterWithItsMachine(t *testing.T) {
	const paused = `Machine dev is paused: the host's disk is full. The session continues when the machine does; ` +
		`to end it, run "stead stop --force dev" elsewhere.`
	const running = "Machine dev is no longer paused: it is running."
	tests := map[string]struct {
		history string
		says    []string
		lost    bool
	}{
		"nothing of one that runs":                         {history: "rrrr"},
		"a pause once":                                     {history: "rppp", says: []string{paused}},
		"its end once":                                     {history: "pprr", says: []string{paused, running}},
		"each pause":                                       {history: "prpr", says: []string{paused, running, paused, running}},
		"the pause of one that boots again":                {history: "pb", says: []string{paused, "Machine dev is no longer paused: it is booting."}},
		"nothing of a supervisor that is busy":             {history: "sssr"},
		"nothing of one that is busy again and again":      {history: "sssrsssr"},
		"a supervisor that hangs":                          {history: "rssss", lost: true},
		"a supervisor that hangs while it is paused":       {history: "pssss", says: []string{paused}, lost: true},
		"nothing of one that ended and closes the session": {history: "gggggg"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// It ends between the last request and the next.
				open := time.Duration(len(tt.history))*healthEvery + healthEvery/2
				ctx, cancel := context.WithTimeout(t.Context(), open)
				defer cancel()
				var said []string
				asked := 0
				h := &sessionHealth{
					id:  "dev",
					say: func(line string) { said = append(said, line) },
					ask: func(ctx context.Context) (supervisor.Status, error) {
						asked++
						return answerOf(ctx, tt.history[asked-1])
					},
				}
				err := h.watch(ctx)
				if d := cmp.Diff(tt.says, said); d != "" {
					t.Errorf("said (-want +got):\n%s", d)
				}
				var hangs *local.UnreachableError
				if errors.As(err, &hangs) != tt.lost || err != nil && !strings.Contains(err.Error(), "did not answer within 30s") {
					t.Errorf("watch = %v", err)
				}
			})
		})
	}
}

func TestShortSessionDoesNotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		h := &sessionHealth{ask: func(context.Context) (supervisor.Status, error) {
			t.Error("asked")
			return supervisor.Status{}, nil
		}}
		if err := h.watch(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestLinesInASessionAreReadableInRawMode(t *testing.T) {
	tests := map[string]struct {
		raw  bool
		want string
	}{
		"a terminal in raw mode": {true, "\r\nfull\\u001b[2J\r\n"},
		"any other output":       {false, "full\\u001b[2J\n"},
	}
	for name, tt := range tests {
		var out strings.Builder
		sayInSession(&printer{&out}, "full\x1b[2J", tt.raw)
		if out.String() != tt.want {
			t.Errorf("%s gets %q, want %q", name, out.String(), tt.want)
		}
	}
}
