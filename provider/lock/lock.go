// Package lock lets one process at a time change a thing, and names the process that
// others wait for.
//
// The kernel frees the lock of a dead process, so a lock file needs no clean-up and its
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

// NoWait is the [Locker.Timeout] that makes a held lock an error at once.
const NoWait time.Duration = -1

const (
	// grace is how long a lock may take before it counts as held: a process that only
	// looks, or sweeps, holds it for a moment, and one that has just taken it has yet to
	// write its name.
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

// File is a file that one process at a time locks.
type File struct {
	Path string
	What string // begins a [HeldError]: "machine dev is being changed"
}

func (f File) flock() *flock.Flock { return flock.New(f.Path, flock.SetPermissions(0o600)) }

// Locker takes locks on behalf of one command.
type Locker struct {
	Command string        // shown to those who wait, such as "stead apply"; default: "stead"
	Timeout time.Duration // how long to wait for another command; 0: without limit
	Log     *slog.Logger  // required
}

// Acquire locks f. It waits for another holder until ctx or the timeout ends, and warns
// once whom it waits for. doing says what the lock is taken for: "creating dev".
func (l *Locker) Acquire(ctx context.Context, f File, doing string) (unlock func(), err error) {
	return l.acquire(ctx, f, doing, l.Timeout)
}

// AcquireNow locks f, or fails when another process holds it.
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
	l.Log.Warn("waiting for " + f.holder().String())
	ok, err := await(ctx, fl, limit)
	if err == nil && !ok {
		err = &TimeoutError{After: limit}
	}
	if err != nil {
		return &HeldError{What: f.What, By: f.holder(), Err: err}
	}
	return nil
}

// TimeoutError reports a wait that lasted as long as [Locker.Timeout] allows.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("timed out after %s waiting for the lock", e.After)
}

// await tries to lock until ctx or the time ends; 0 means no limit.
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
		return false, err
	}
	if ok {
		return false, fl.Unlock()
	}
	return true, nil
}

// Keep locks f for as long as this process lives or until unlock, without a name. Whoever
// asks whether f is held locks it for a moment, which is long where that process does not
// get to run: Keep waits until ctx ends.
func (f File) Keep(ctx context.Context) (unlock func(), err error) {
	fl := f.flock()
	if _, err := fl.TryLockContext(ctx, 2*poll); err != nil {
		return nil, err
	}
	return func() { _ = fl.Unlock() }, nil
}

func (l *Locker) signature(doing string) Holder {
	name := ""
	if user, err := host.User(); err == nil {
		name = user.Name
	}
	return Holder{
		PID: os.Getpid(), Command: cmp.Or(l.Command, "stead"), User: name,
		Since: time.Now().Truncate(time.Second), Doing: doing,
	}
}
