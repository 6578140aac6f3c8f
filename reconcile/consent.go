package reconcile

import (
	"slices"

	"github.com/stead-vm/stead/provider/machine"
)

// consent is what machines may reach of the host with the user's approval: what the file said
// when a watch began, and what machines have been given since, by an approved plan or by hand.
// A watch must not give more to a file that changed meanwhile, as by pulling others' commits.
type consent struct {
	begun   bool
	homes   map[string]access // by machine
	agents  map[string]bool   // machines whose sessions may use the SSH agent
	most    access            // of all machines of the project, which a new machine may have, too
	sources []string          // of builds, outside of the project's directory
}

// access is what a machine may do with the home directory. More is greater.
type access uint8

func accessOf(m machine.HomeMount) access {
	return access(max(0, slices.Index([]machine.HomeMount{machine.HomeNone, machine.HomeReadOnly, machine.HomeReadWrite}, m)))
}

// begin ends the time in which the file's word counts: a file that was wrong when the watch began
// may have been replaced by another's.
func (k *consent) begin() { k.begun = true }

// learn adds what the machines of a plan have been given and, the first time, what the file says.
func (k *consent) learn(p Plan) {
	if k.homes == nil {
		k.homes, k.agents = map[string]access{}, map[string]bool{}
	}
	for _, c := range p.Changes {
		if c.Have != nil {
			k.agree(c.ID, &c.Have.Spec)
		}
		if c.Want != nil && !k.begun {
			k.agree(c.ID, c.Want)
		}
	}
	k.begin()
}

func (k *consent) agree(id string, s *machine.Spec) {
	given := accessOf(s.HomeMount)
	k.homes[id] = max(k.homes[id], given)
	k.most = max(k.most, given)
	k.agents[id] = k.agents[id] || !s.NoSSHAgent
	for _, a := range outsideAttrs(s) {
		k.sources = append(k.sources, a.New)
	}
}

// covers reports whether the user has agreed to what a change gives to a machine.
func (k *consent) covers(c *Change) bool {
	if c.Want == nil {
		return true
	}
	agreed, known := k.homes[c.ID]
	switch {
	case len(k.homes) == 0:
		agreed = accessOf(machine.HomeReadWrite) // the user writes the first machine, with the default
	case !known:
		agreed = k.most
	}
	if accessOf(c.Want.HomeMount) > agreed || known && !c.Want.NoSSHAgent && !k.agents[c.ID] {
		return false
	}
	return !slices.ContainsFunc(outsideAttrs(c.Want), func(a AttrChange) bool { return !slices.Contains(k.sources, a.New) })
}
