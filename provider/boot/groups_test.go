package boot

import (
	"os"
	"slices"
	"testing"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/machine"
)

func TestAMachineWithTheHomeHasTheHostsGroups(t *testing.T) {
	record := func(uid, gid int) (r bundle.Record) {
		r.Configuration.UserSetup = bundle.User{Username: "ada", UID: uid, GID: gid}
		return r
	}
	mounted := machine.Settings{HomeMount: machine.HomeReadOnly}
	got, err := groups(record(1000, -1), mounted)
	if err != nil || !slices.ContainsFunc(got, func(g guest.Group) bool { return g.GID == os.Getgid() }) {
		t.Errorf("groups are %+v (%v), without those of this process", got, err)
	}
	got, err = groups(record(1000, os.Getgid()), mounted)
	if err != nil || slices.ContainsFunc(got, func(g guest.Group) bool { return g.GID == os.Getgid() }) {
		t.Errorf("the primary group is among the supplementary ones: %+v (%v)", got, err)
	}
	for name, none := range map[string][]guest.Group{
		"root":           first(groups(record(0, 0), mounted)),
		"a machine only": first(groups(record(1000, -1), machine.Settings{HomeMount: machine.HomeNone})),
	} {
		if len(none) != 0 {
			t.Errorf("%s has the groups %+v", name, none)
		}
	}
}

func first(g []guest.Group, _ error) []guest.Group { return g }
