package supervisor

import (
	"context"
	"slices"

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
	states, err := client.ApplyServices(ctx, want)
	if err != nil {
		states = failedServices(want, err)
	}
	if s.opts.Settled != nil {
		s.opts.Settled(succeededServices(want, states))
	}
	s.update(func(st *Status) { st.Services, st.ServicesSettled = states, true })
	return states
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
