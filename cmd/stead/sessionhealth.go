package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/printable"
	"github.com/stead-vm/stead/provider/supervisor"
)

const (
	// healthEvery is how often a session asks for the state of its machine. Short commands end
	// before the first request.
	healthEvery = 10 * time.Second
	// healthSilence is how long a supervisor may be silent before a session ends. On a busy host
	// an answer can take seconds.
	healthSilence = 30 * time.Second
)

// sessionHealth says what is the matter with the machine of an open session.
type sessionHealth struct {
	id     string
	ask    func(ctx context.Context) (supervisor.Status, error)
	say    func(line string)
	paused bool // and the user knows
	silent int  // requests without an answer since the last answer
}

// watch returns nil when ctx ends, or an error if the supervisor does not answer any more. While
// it hangs nothing passes through the session, and no key in a terminal ends it.
func (h *sessionHealth) watch(ctx context.Context) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := h.look(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// look asks once. A supervisor that has ended closes the session itself, so only requests that
// time out count.
func (h *sessionHealth) look(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	st, err := h.ask(asking)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		h.silent = 0
		h.tell(st)
	case errors.Is(asking.Err(), context.DeadlineExceeded):
		h.silent++
	}
	if time.Duration(h.silent-1)*healthEvery >= healthSilence {
		err := &local.UnreachableError{ID: h.id, Err: &local.SilentError{After: healthSilence}}
		return fmt.Errorf("machine %s: %w", h.id, err)
	}
	return nil
}

// tell says once that the machine is paused, and once that it goes on.
func (h *sessionHealth) tell(st supervisor.Status) {
	switch paused := st.State == supervisor.StatePaused; {
	case paused == h.paused:
	case paused:
		h.paused = true
		h.say(fmt.Sprintf("Machine %s is %s. The session continues when the machine does; "+
			"to end it, run \"stead stop --force %s\" elsewhere.", h.id, st.Description(), h.id))
	default:
		h.paused = false
		h.say(fmt.Sprintf("Machine %s is no longer paused: it is %s.", h.id, st.Description()))
	}
}

// watchHealth watches the machine of an open session until ctx ends, and reports the error that
// ends the session. raw is whether the terminal is in raw mode.
func (a *app) watchHealth(ctx context.Context, id string, raw bool) <-chan error {
	h := &sessionHealth{
		id: id,
		ask: func(ctx context.Context) (supervisor.Status, error) {
			return a.provider.Machines.Supervisor(id).Status(ctx, "")
		},
		say: func(line string) { sayInSession(a.err, line, raw) },
	}
	lost := make(chan error, 1)
	go func() {
		if err := h.watch(ctx); err != nil {
			lost <- err
		}
	}()
	return lost
}

// sayInSession prints a line amid the output of a session. In raw mode the cursor may be
// anywhere, and a line feed does not return it.
func sayInSession(w *printer, line string, raw bool) {
	if raw {
		_, _ = io.WriteString(w.raw, "\r\n"+printable.Text(line)+"\r\n")
	} else {
		fmt.Fprintln(w, line)
	}
}
