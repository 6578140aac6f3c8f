// Package lock provides locks between processes. A lock names its holder, so that waiting
// commands can show what they wait for.
//
// The kernel releases the lock of a dead process, so lock files need no cleanup, and their
// text proves nothing: only the lock does.
package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/host"
)

// NoWait is the [Locker.Timeout] that fails at once if the lock is held.
const NoWait time.Duration = -1

const (
	// grace is how long to try before a lock counts as held: a process that only checks the
	// lock holds it for a moment, and a new holder still has to write its name.
	grace = 100 * time.Millisecond
	poll  = 5 * time.Millisecond
)

// HeldError reports a lock that another process holds.
type HeldError struct {
	What string // "machine dev is being changed", "/acme/machines.hcl is being watched"
	By   Holder // the zero Holder where it is unknown
	Err  error  // why the wait ended; nil: there was none
}

func (e *HeldError) Error() string {
	text := fmt.Sprintf("%s by %s", e.What, e.By)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns why the wait ended, if there was one.
func (e *HeldError) Unwrap() error { return e.Err }

// Remedy says how to wait.
func (e *HeldError) Remedy() string {
	return "run the command again when that one has ended, or wait for it with --lock-timeout 5m"
}

// File is a lock file.
type File struct {
	Path string
	What string // the start of a [HeldError]: "machine dev is being changed"
}

func (f File) flock() *flock.Flock { return flock.New(f.Path, flock.SetPermissions(0o600)) }

// Locker acquires locks for one command.
type Locker struct {
	Command string        // shown to commands that wait, such as "stead apply"; default: "stead"
	Timeout time.Duration // how long to wait for another command; 0: without limit
	Log     *slog.Logger  // default: discard
}

// Acquire locks f. It waits for another holder until ctx ends or the timeout passes, and logs
// once which command it waits for. doing says what the lock is for: "creating dev".
func (l *Locker) Acquire(ctx context.Context, f File, doing string) (unlock func(), err error) {
	return l.acquire(ctx, f, doing, l.Timeout)
}

// AcquireNow locks f, or fails if another process holds it.
func (l *Locker) AcquireNow(ctx context.Context, f File) (unlock func(), err error) {
	return l.acquire(ctx, f, "", NoWait)
}

func (l *Locker) acquire(ctx context.Context, f File, doing string, limit time.Duration) (unlock func(), err error) {
	fl := f.flock()
	ok, err := fl.TryLock()
	if err == nil && !ok {
		ok, err = await(ctx, fl, grace)
	}
	if err == nil && !ok {
		err = l.wait(ctx, f, fl, limit)
	}
	if err != nil {
		return nil, err
	}
	f.sign(l.signature(doing))
	return func() {
		f.erase()
		_ = fl.Unlock()
	}, nil
}

// wait waits for the holder of f.
func (l *Locker) wait(ctx context.Context, f File, fl *flock.Flock, limit time.Duration) error {
	if limit == NoWait {
		return &HeldError{What: f.What, By: f.holder()}
	}
	cmp.Or(l.Log, slog.New(slog.DiscardHandler)).Warn("waiting for " + f.holder().String())
	ok, err := await(ctx, fl, limit)
	if err == nil && !ok {
		err = &TimeoutError{After: limit}
	}
	if err != nil {
		return &HeldError{What: f.What, By: f.holder(), Err: err}
	}
	return nil
}

// TimeoutError reports a wait that exceeded [Locker.Timeout].
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("timed out after %s waiting for the lock", e.After)
}

// await tries to lock until ctx ends or the timeout passes; 0 means no timeout.
func await(ctx context.Context, fl *flock.Flock, limit time.Duration) (ok bool, err error) {
	errLimit := errors.New("limit reached")
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errLimit)
		defer cancel()
	}
	ok, err = fl.TryLockContext(ctx, poll)
	switch {
	case ok:
		return true, nil
	case errors.Is(context.Cause(ctx), errLimit):
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	}
	return false, err
}

// Try locks f if no process holds it.
func (f File) Try() (unlock func(), ok bool) {
	fl := f.flock()
	if ok, err := fl.TryLock(); err != nil || !ok {
		return nil, false
	}
	return func() { _ = fl.Unlock() }, true
}

// Holder returns the process that holds f, if one does.
func (f File) Holder() (_ Holder, held bool) {
	if _, err := os.Stat(f.Path); err != nil {
		return Holder{}, false
	}
	if held, err := f.Held(); !held || err != nil {
		return Holder{}, false
	}
	return f.holder(), true
}

// Held reports whether a process holds f.
func (f File) Held() (bool, error) {
	fl := f.flock()
	ok, err := fl.TryRLock()
	if err != nil {
		return false, errors.Join(err, fl.Close())
	}
	if ok {
		return false, fl.Unlock()
	}
	return true, nil
}

// Keep locks f until unlock or the end of this process. It waits until ctx ends, because a
// process that checks whether f is held locks it for a moment, which can be long on a busy host.
func (l *Locker) Keep(ctx context.Context, f File) (unlock func(), err error) {
	fl := f.flock()
	if _, err := fl.TryLockContext(ctx, 2*poll); err != nil {
		return nil, err
	}
	f.sign(l.signature(""))
	return func() {
		f.erase()
		_ = fl.Unlock()
	}, nil
}

func (l *Locker) signature(doing string) Holder {
	return Holder{
		PID: os.Getpid(), Command: cmp.Or(l.Command, "stead"), User: host.User().Name,
		Since: time.Now().Truncate(time.Second), Doing: doing,
	}
}
