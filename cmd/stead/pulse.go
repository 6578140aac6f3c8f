package main

import (
	"context"
	"reflect"
	"time"

	"github.com/stead-vm/stead/provider"
)

// pulseInterval is how often machines are looked at.
const pulseInterval = time.Second

// pulse rings when machines are other ones than before. It looks at them in intervals: a
// machine that is killed changes no file, and one that runs changes files of its bundle
// all the time, its disk with every write.
type pulse struct {
	provider *provider.Provider
	bell     bell
	before   []provider.Machine
}

// newPulse looks for the first time. What changes later rings the bell.
func newPulse(ctx context.Context, p *provider.Provider, b bell) (*pulse, error) {
	before, err := p.Observe(ctx)
	return &pulse{provider: p, bell: b, before: steady(before)}, err
}

// run looks until ctx ends.
func (p *pulse) run(ctx context.Context) error {
	pause := pulseInterval
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		began := time.Now()
		now, err := p.provider.Observe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if now = steady(now); err != nil || !reflect.DeepEqual(now, p.before) {
			p.before = now
			p.bell.ring()
		}
		pause = max(pulseInterval, 20*time.Since(began)) // many machines must not cost more than that
	}
}

// steady leaves out what changes without meaning another plan.
func steady(machines []provider.Machine) []provider.Machine {
	for i := range machines {
		m := &machines[i]
		m.DiskUsed, m.Address, m.Default = 0, "", false
	}
	return machines
}
