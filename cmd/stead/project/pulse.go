package project

import (
	"context"
	"reflect"
	"time"

	"github.com/stead-vm/stead/provider/machine"
)

// pulseInterval is how often machines are checked.
const pulseInterval = time.Second

// pulse rings a bell when machines change. It checks them at intervals instead of following
// files: a machine that is killed changes no file, and a running one changes files of its bundle
// all the time.
type pulse struct {
	host   Host
	bell   bell
	before []machine.Machine
}

// newPulse checks the machines for the first time. Later changes ring the bell.
func newPulse(ctx context.Context, h Host, b bell) (*pulse, error) {
	before, err := h.Machines(ctx)
	return &pulse{host: h, bell: b, before: steady(before)}, err
}

// run checks the machines until ctx ends.
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
		pause = max(pulseInterval, 20*time.Since(began)) // limits the share of time spent checking
	}
}

// steady clears what changes without affecting plans.
func steady(machines []machine.Machine) []machine.Machine {
	for i := range machines {
		m := &machines[i]
		m.DiskUsed, m.Address, m.Default = 0, "", false
	}
	return machines
}
