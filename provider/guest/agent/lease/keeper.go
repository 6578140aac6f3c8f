//go:build linux

package lease

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Asker is what a [Keeper] needs of a [Client].
type Asker interface {
	Discover(ctx context.Context) (Lease, error)
	Renew(ctx context.Context, l Lease, anyone bool) (Lease, error)
}

// Keeper keeps a lease for as long as the machine runs.
//
// Time is counted by the monotonic clock, which nobody sets. It stands still while the
// host sleeps and the servers' does not: Wake says that it may be later than it seems.
type Keeper struct {
	Server Asker
	// Apply gives the machine the settings of the new lease instead of the old one's. Either
	// may be none.
	Apply func(old, now Lease) error
	Wake  <-chan struct{}
	Log   *slog.Logger
}

// The pause after a question for a first lease that nobody has answered.
const (
	firstPause = 5 * time.Second
	lastPause  = time.Minute
)

// Run begins with the lease l, granted just now, or with none, and returns when ctx ends.
func (k Keeper) Run(ctx context.Context, l Lease) {
	for ctx.Err() == nil {
		if l.Address.IsValid() {
			l = k.hold(ctx, l)
		} else {
			l = k.find(ctx)
		}
	}
}

// find asks until there is a lease.
func (k Keeper) find(ctx context.Context) Lease {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		l, err := k.Server.Discover(ctx)
		if err == nil {
			k.Log.Info("lease granted", "address", l.Address)
			k.apply(Lease{}, l)
			return l
		}
		if ctx.Err() != nil {
			return Lease{}
		}
		k.Log.Warn("still without an address", "error", err)
		k.sleep(ctx, pause)
	}
}

// hold waits for the time to renew l, and returns what follows it.
func (k Keeper) hold(ctx context.Context, l Lease) Lease {
	granted, pause, slept := time.Now(), l.Pause(0), false
	for {
		slept = k.sleep(ctx, pause) || slept
		age := time.Since(granted)
		if ctx.Err() != nil {
			return Lease{}
		}
		if age >= l.Expire {
			k.Log.Warn("the lease has ended, as no DHCP server answered", "address", l.Address)
			k.apply(l, Lease{})
			return Lease{}
		}
		next, err := k.Server.Renew(ctx, l, slept || age >= l.Rebind)
		switch {
		case err == nil:
			k.Log.Info("lease renewed", "address", next.Address)
			k.apply(l, next)
			return next
		case errors.Is(err, ErrRefused):
			k.Log.Warn("the lease has ended", "address", l.Address, "error", err)
			k.apply(l, Lease{})
			return Lease{}
		}
		if pause = l.Pause(time.Since(granted)); slept {
			pause = min(pause, minPause) // how old the lease is in truth is not known
		}
	}
}

func (k Keeper) apply(old, now Lease) {
	if old.SameSettings(now) {
		return
	}
	if err := k.Apply(old, now); err != nil {
		k.Log.Error("the lease's settings are not all in use", "error", err)
	}
}

// sleep returns after the pause, or earlier when ctx ends or, with true, at a wake.
func (k Keeper) sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-k.Wake:
		return true
	}
	return false
}
