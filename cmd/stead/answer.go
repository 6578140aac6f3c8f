package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stead-vm/stead/provider/supervisor"
)

// answerPatience is how long a machine may take to answer before the user sees what the
// command waits for. heardTimeout bounds the request for what is known of the machine.
const (
	answerPatience = 5 * time.Second
	heardTimeout   = time.Second
)

// noAnswerError reports a machine that did not answer in time.
type noAnswerError struct {
	id    string
	after time.Duration
	heard string
}

func (e *noAnswerError) Error() string {
	return fmt.Sprintf("machine %s did not answer within %s: %s", e.id, e.after, e.heard)
}

func (e *noAnswerError) Remedy() string {
	return fmt.Sprintf(`run "stead logs %s" to read its console, or "stead stop --force %s" to cut its power`, e.id, e.id)
}

// awaitAnswer says what is waited for if the machine does not answer soon, and calls giveUp
// if it does not answer within timeout; 0 means without limit. Call answered when it has.
// Afterwards nothing is printed any more, and giveUp is not called.
func (a *app) awaitAnswer(id string, timeout time.Duration, giveUp func(error)) (answered func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		var limit <-chan time.Time
		if timeout > 0 {
			limit = time.After(timeout)
		}
		for notice := time.After(answerPatience); ; {
			select {
			case <-ctx.Done():
				return
			case <-notice:
				if heard := a.lastHeard(ctx, id); ctx.Err() == nil {
					fmt.Fprintf(a.err, "Waiting for machine %s to answer: %s. Press Ctrl-C to give up.\n", id, heard)
				}
			case <-limit:
				if heard := a.lastHeard(ctx, id); ctx.Err() == nil {
					giveUp(&noAnswerError{id: id, after: timeout, heard: heard})
				}
				return
			}
		}
	})
	return func() {
		cancel()
		waiting.Wait()
	}
}

// lastHeard says what is known of a machine that does not answer.
func (a *app) lastHeard(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	st, err := a.provider.Machines.Supervisor(id).Status(ctx, "")
	switch {
	case err != nil:
		return "its supervisor does not answer either"
	case st.State != supervisor.StateRunning:
		return "it is " + st.Description()
	case st.Heard.IsZero():
		return "it has not answered since it booted"
	}
	return fmt.Sprintf("it last answered %s ago", time.Since(st.Heard).Round(time.Second))
}
