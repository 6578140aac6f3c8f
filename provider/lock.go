package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// NoWait is the Options.LockTimeout that has a lock of somebody else be an error at once.
const NoWait time.Duration = -1

const (
	// lockGrace is what a lock may take before it counts as held: who only looks, or
	// sweeps, holds it for a moment, and who has just taken it has yet to write its name.
	lockGrace = 100 * time.Millisecond
	lockEvery = 5 * time.Millisecond
)

// LockedError reports what somebody else is changing.
type LockedError struct {
	What string // "machine dev is being changed", "/acme/machines.hcl is being watched"
	By   Holder // the zero Holder where it is not known
	Err  error  // why it was not waited for any longer
}

func (e *LockedError) Error() string { return fmt.Sprintf("%s by %s: %v", e.What, e.By, e.Err) }

func (e *LockedError) Unwrap() error { return e.Err }

// Remedy says how to wait.
func (e *LockedError) Remedy() string {
	return "run the command again when that one has ended, or have it wait with --lock-timeout 5m"
}

var errLockTimeout = errors.New("it still works after the time that --lock-timeout gives it")

// lock is a file that one process at a time holds. The kernel frees the lock of a dead
// process, whatever its file says.
type lock struct {
	path, what string
}

// machineLock makes its holder the one writer of a machine. It outlives replacement and
// deletion of the bundle, so it lies beside it.
func (p *Provider) machineLock(id string) lock {
	return lock{filepath.Join(p.machinesDir(), "."+id+".lock"), "machine " + id + " is being changed"}
}

func (p *Provider) projectLock(file string) lock {
	return lock{p.projectFile(Owner{File: file}, ".lock"), "the project of " + file + " is being changed"}
}

func (l lock) flock() *flock.Flock { return flock.New(l.path, flock.SetPermissions(0o600)) }

// lock takes l for the caller. It waits for another holder until ctx ends, or as long as
// Options.LockTimeout says, and says once for whom. doing is what the lock is taken for.
func (p *Provider) lock(ctx context.Context, l lock, doing string) (unlock func(), err error) {
	return p.lockWithin(ctx, l, doing, p.opts.LockTimeout)
}

// lockWithin is lock with another time to wait.
func (p *Provider) lockWithin(ctx context.Context, l lock, doing string, limit time.Duration) (unlock func(), err error) {
	f := l.flock()
	ok, err := f.TryLock()
	if err == nil && !ok {
		ok, err = l.await(ctx, f, lockGrace)
	}
	if err == nil && !ok {
		err = p.waitFor(ctx, l, f, limit)
	}
	if err != nil {
		return nil, err
	}
	l.sign(p.signature(doing))
	return func() {
		l.erase()
		_ = f.Unlock()
	}, nil
}

// waitFor waits for the holder of l.
func (p *Provider) waitFor(ctx context.Context, l lock, f *flock.Flock, limit time.Duration) error {
	if limit == NoWait {
		return &LockedError{What: l.what, By: l.holder(), Err: errors.New("it is not waited for")}
	}
	p.log.Warn("waiting for " + l.holder().String())
	ok, err := l.await(ctx, f, limit)
	if err == nil && !ok {
		err = errLockTimeout
	}
	if err != nil {
		return &LockedError{What: l.what, By: l.holder(), Err: err}
	}
	return nil
}

// await tries to take l until ctx or the time ends; 0 is for ever.
func (l lock) await(ctx context.Context, f *flock.Flock, limit time.Duration) (ok bool, err error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errLockTimeout)
		defer cancel()
	}
	ok, err = f.TryLockContext(ctx, lockEvery)
	switch {
	case ok:
		return true, nil
	case errors.Is(context.Cause(ctx), errLockTimeout):
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	}
	return false, err
}

// tryLock takes l if nobody holds it.
func (p *Provider) tryLock(l lock) (unlock func(), ok bool) {
	f := l.flock()
	if ok, err := f.TryLock(); err != nil || !ok {
		return nil, false
	}
	return func() { _ = f.Unlock() }, true
}

// LockProject makes the caller the one that plans for, and changes, the machines of the
// project whose file that is. It removes what killed commands left half-made or half-removed.
func (p *Provider) LockProject(ctx context.Context, file string) (unlock func(), err error) {
	l := p.projectLock(file)
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return nil, diskFull(err, p.opts.Home)
	}
	if unlock, err = p.lock(ctx, l, ""); err != nil {
		return nil, err
	}
	if err := p.sweep(""); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// LockWatch makes the caller the one watch of the project whose file that is, or tells who
// is: two would do everything twice. It keeps no other command from working on the project.
func (p *Provider) LockWatch(ctx context.Context, file string) (unlock func(), err error) {
	l := lock{p.projectFile(Owner{File: file}, ".watch.lock"), file + " is being watched"}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return nil, diskFull(err, p.opts.Home)
	}
	return p.lockWithin(ctx, l, "", NoWait)
}

// ProjectHolder tells who holds the lock of a project, if anybody does.
func (p *Provider) ProjectHolder(file string) (_ Holder, held bool) {
	l := p.projectLock(file)
	if _, err := os.Stat(l.path); err != nil {
		return Holder{}, false
	}
	f := l.flock()
	if ok, err := f.TryRLock(); ok || err != nil {
		_ = f.Unlock()
		return Holder{}, false
	}
	return l.holder(), true
}

func (p *Provider) signature(doing string) Holder {
	name := ""
	if user, err := HostUser(); err == nil {
		name = user.Name
	}
	return Holder{
		PID: os.Getpid(), Command: cmp.Or(p.opts.Command, "stead"), User: name,
		Since: time.Now().Truncate(time.Second), Doing: doing,
	}
}

// supervised reports whether a supervisor lives for the machine: it holds a lock for
// as long as it does, whatever kills it.
func (b bundle) supervised() (bool, error) {
	l := flock.New(b.path(supervisorLock), flock.SetPermissions(0o600))
	ok, err := l.TryRLock()
	if err != nil {
		return false, err
	}
	if ok {
		return false, l.Unlock()
	}
	return true, nil
}
