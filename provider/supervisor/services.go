package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/stead-vm/stead/provider/guest"
)

// applyServices makes the guest run the wanted services and records the result in the
// status. Concurrent calls apply their lists one after the other.
func (s *supervisor) applyServices(ctx context.Context, client *guest.Client, want []string) []guest.ServiceState {
	s.services.Lock()
	defer s.services.Unlock()
	s.want = want
	ctx, cancel := context.WithTimeout(ctx, servicesTimeout)
	defer cancel()
	s.update(func(st *Status) { st.ServicesSettled = false })
	ctx, stop := s.whileReachable(ctx)
	defer stop()
	states, err := client.ApplyServices(ctx, want)
	states = believable(want, states)
	var lost *UnreachableError
	if err != nil && errors.As(context.Cause(ctx), &lost) {
		err = lost
	}
	if err != nil {
		states = failedServices(want, err)
	}
	if s.opts.Settled != nil {
		s.opts.Settled(succeededServices(want, states))
	}
	s.update(func(st *Status) { st.Services, st.ServicesSettled = states, true })
	return states
}

// believable returns what a guest may say: the states of wanted services, with errors whose lines
// cannot be taken for stead's.
func believable(want []string, states []guest.ServiceState) []guest.ServiceState {
	known := []guest.ServiceState{}
	for _, st := range states {
		if slices.Contains(want, st.Name) && !slices.ContainsFunc(known, func(k guest.ServiceState) bool { return k.Name == st.Name }) {
			st.Error = strings.ReplaceAll(strings.TrimSpace(st.Error), "\n", "\n  ")
			known = append(known, st)
		}
	}
	return known
}

// succeededServices returns the wanted services that did not fail.
func succeededServices(want []string, states []guest.ServiceState) []string {
	return slices.DeleteFunc(slices.Clone(want), func(name string) bool {
		return slices.ContainsFunc(states, func(st guest.ServiceState) bool { return st.Name == name && st.Error != "" })
	})
}

// failedServices returns the same error for every service.
func failedServices(want []string, err error) []guest.ServiceState {
	states := make([]guest.ServiceState, len(want))
	for i, name := range want {
		states[i] = guest.ServiceState{Name: name, Error: err.Error()}
	}
	return states
}
