package supervisor

import (
	"context"
	"slices"

	"github.com/stead-vm/stead/provider/guest"
)

// applyServices makes the guest run the wanted services and records how it went.
// Lists are applied one after the other, in the order in which they came.
func (s *supervisor) applyServices(ctx context.Context, client *guest.Client, want []string) []guest.ServiceState {
	s.services.Lock()
	defer s.services.Unlock()
	s.want = want
	ctx, cancel := context.WithTimeout(ctx, servicesTimeout)
	defer cancel()
	s.update(func(st *Status) { st.ServicesSettled = false })
	states, err := client.ApplyServices(ctx, want)
	if err != nil {
		states = failed(want, err)
	}
	if s.opts.Settled != nil {
		s.opts.Settled(taken(want, states))
	}
	s.update(func(st *Status) { st.Services, st.ServicesSettled = states, true })
	return states
}

// taken are the wanted services that did not fail.
func taken(want []string, states []guest.ServiceState) []string {
	return slices.DeleteFunc(slices.Clone(want), func(name string) bool {
		return slices.ContainsFunc(states, func(st guest.ServiceState) bool { return st.Name == name && st.Error != "" })
	})
}

// failed says the same error of every service.
func failed(want []string, err error) []guest.ServiceState {
	states := make([]guest.ServiceState, len(want))
	for i, name := range want {
		states[i] = guest.ServiceState{Name: name, Error: err.Error()}
	}
	return states
}
