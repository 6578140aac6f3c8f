package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/supervisor"
)

// hangTimeout is how long a supervisor may be silent before a graceful stop kills it. On a busy
// host an answer can take seconds, and a kill loses what the guest has not written to its disk.
// A stop by force waits for observeTimeout.
const hangTimeout = 30 * time.Second

// recordTime is more than the time between taking a lock and recording the holder.
const recordTime = 200 * time.Millisecond

// SilentError reports a supervisor that runs but does not answer: it is stopped or it hangs.
type SilentError struct{ After time.Duration }

func (e *SilentError) Error() string {
	return fmt.Sprintf("its supervisor did not answer within %v", e.After)
}

// checkAnswers returns an [UnreachableError] if the machine's supervisor accepts a request but
// does not answer it in time. It returns nil if there is no supervisor that listens: one that is
// starting or ending is no reason to give up.
func (p *Provider) checkAnswers(ctx context.Context, id string, limit time.Duration) error {
	_, err := p.ask(ctx, id, limit)
	return err
}

// ask is checkAnswers, and also returns the machine's status, which has no state if there is no
// supervisor that listens.
func (p *Provider) ask(ctx context.Context, id string, limit time.Duration) (supervisor.Status, error) {
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	st, err := p.Machines.Supervisor(id).Status(asking, "")
	switch {
	case ctx.Err() != nil:
		return supervisor.Status{}, context.Cause(ctx)
	case err != nil && asking.Err() != nil:
		return supervisor.Status{}, &UnreachableError{ID: id, Err: &SilentError{After: limit}}
	case err != nil:
		return supervisor.Status{}, nil
	}
	return st, nil
}

// killSupervisor ends a supervisor that hangs. Its hypervisor and file servers end with it.
func (p *Provider) killSupervisor(ctx context.Context, b bundle.Bundle, id string) error {
	holder, held := b.Supervisor().Holder()
	if !held {
		return nil
	}
	if holder.PID == 0 {
		return errors.New("did not stop: its supervisor does not answer, and has not recorded its process")
	}
	process, err := os.FindProcess(holder.PID)
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }()
	// Whoever takes the lock records itself within moments. A record that stays the same while the
	// lock is held is therefore its holder's, who is alive, so the number cannot be another's.
	time.Sleep(recordTime)
	if again, held := b.Supervisor().Holder(); !held {
		return nil
	} else if again.PID != holder.PID || !again.Since.Equal(holder.Since) {
		return errors.New("did not stop: another supervisor has started; run the command again")
	}
	p.log.Warn("the supervisor does not answer; killing it, which cuts the machine's power", "machine", id, "pid", holder.PID)
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("did not stop: kill its supervisor: %w", err)
	}
	return awaitSupervisorEnd(ctx, b)
}
