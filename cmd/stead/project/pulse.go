package project

import (
	"context"
	"reflect"
	"time"

	"github.com/stead-vm/stead/provider/machine"
)

// pulseInterval is how often machines are looked at.
const pulseInterval = time.Second

// pulse rings when machines have changed. It looks at them in intervals: a machine that
// is killed changes no file, and one that runs changes files of its bundle all the time,
// its disk with every write.
type pulse struct {
	host   Host
	bell   bell
	before []machine.Machine
}

// newPulse looks for the first time. What changes later rings the bell.
func newPulse(ctx context.Context, h Host, b bell) (*pulse, error) {
	before, err := h.Machines(ctx)
	return &pulse{host: h, bell: b, before: steady(before)}, err
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
		now, err := p.host.Machines(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if now = steady(now); err != nil || !reflect.DeepEqual(now, p.before) {
			p.before = now
			p.bell.ring()
		}
		pause = max(pulseInterval, 20*time.Since(began)) // bounds the share of time spent looking
	}
}

// steady leaves out what changes without leading to another plan.
func steady(machines []machine.Machine) []machine.Machine {
	for i := range machines {
		m := &machines[i]
		m.DiskUsed, m.Address, m.Default = 0, "", false
	}
	return machines
}
