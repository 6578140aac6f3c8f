//go:build linux

package lease

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Asker is the part of [Client] that a [Keeper] uses.
type Asker interface {
	Discover(ctx context.Context) (Lease, error)
	Renew(ctx context.Context, l Lease, anyone bool) (Lease, error)
}

// Keeper renews a lease for as long as the machine runs.
//
// It measures time by the monotonic clock, which is never set but stops while the host
// sleeps. An element in Wake says that the host has slept, so that the lease may be older
// than that clock shows.
type Keeper struct {
	Server Asker
	// Apply replaces the settings of the old lease with those of the new one. Either may be
	// zero.
	Apply func(old, now Lease) error
	Wake  <-chan struct{}
	Log   *slog.Logger
}

// Pauses after a Discover that no server answered.
const (
	firstPause = 5 * time.Second
	lastPause  = time.Minute
)

// Run starts with the lease l, which was just granted or is zero. It returns when ctx ends.
func (k Keeper) Run(ctx context.Context, l Lease) {
	for ctx.Err() == nil {
		if l.Address.IsValid() {
			l = k.hold(ctx, l)
		} else {
			l = k.find(ctx)
		}
	}
}

// find asks until a server grants a lease.
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
		k.Log.Warn("this machine still has no address", "err", err)
		k.sleep(ctx, pause)
	}
}

// hold renews l in time, and returns the next lease, or the zero Lease if l has ended.
func (k Keeper) hold(ctx context.Context, l Lease) Lease {
	granted, pause, slept := time.Now(), l.Pause(0), false
	for {
		slept = k.sleep(ctx, pause) || slept
		age := time.Since(granted)
		if ctx.Err() != nil {
			return Lease{}
		}
		if age >= l.Expire {
			k.Log.Warn("the lease expired: no DHCP server answered", "address", l.Address)
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
			k.Log.Warn("the lease has ended", "address", l.Address, "err", err)
			k.apply(l, Lease{})
			return Lease{}
		}
		if pause = l.Pause(time.Since(granted)); slept {
			pause = min(pause, minPause) // the lease's true age is unknown
		}
	}
}

func (k Keeper) apply(old, now Lease) {
	if old.SameSettings(now) {
		return
	}
	if err := k.Apply(old, now); err != nil {
		k.Log.Error("cannot apply all settings of the lease", "err", err)
	}
}

// sleep returns after the pause, or earlier if ctx ends. On a wake it returns true at once.
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
