package provider

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lock makes the caller the one writer of a machine; it waits for another writer
// until ctx ends. The lock outlives replacement and deletion of the bundle, so it
// lies beside it. The kernel frees the lock of a dead process.
func (p *Provider) lock(ctx context.Context, id string) (unlock func(), err error) {
	l := p.lockOf(id)
	if ok, err := l.TryLock(); err != nil {
		return nil, fmt.Errorf("lock of machine %s: %w", id, err)
	} else if !ok {
		p.log.Warn("waiting for another stead that works on the machine", "machine", id)
		if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
			return nil, fmt.Errorf("machine %s is being changed by another stead: %w", id, err)
		}
	}
	return func() { _ = l.Unlock() }, nil
}

func (p *Provider) lockOf(id string) *flock.Flock {
	return flock.New(filepath.Join(p.machinesDir(), "."+id+".lock"), flock.SetPermissions(0o600))
}

// tryLock is lock that does not wait.
func (p *Provider) tryLock(id string) (unlock func(), ok bool) {
	l := p.lockOf(id)
	if ok, err := l.TryLock(); err != nil || !ok {
		return nil, false
	}
	return func() { _ = l.Unlock() }, true
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
