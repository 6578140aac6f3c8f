package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

func TestAPlanIsOutdatedWhereALaterOneIsNotTheSame(t *testing.T) {
	fuller := machine.Machine{Spec: machine.Spec{ID: "b", Digest: "sha256:1"}, DiskUsed: 2}
	anew := machine.Machine{Spec: machine.Spec{ID: "b", Digest: "sha256:2"}}
	restart := func(m machine.Machine) reconcile.Change {
		return reconcile.Change{ID: "b", Action: reconcile.Restart, Have: &m}
	}
	idle := reconcile.Change{ID: "a"}
	part := reconcile.Plan{Changes: []reconcile.Change{idle, restart(machine.Machine{Spec: fuller.Spec, DiskUsed: 1})}}
	for name, tt := range map[string]struct {
		now  []reconcile.Change
		want []string
	}{
		"the same is none, however full the disk is by now": {[]reconcile.Change{idle, restart(fuller)}, nil},
		"what was not to be changed may be another":         {[]reconcile.Change{{ID: "a", Action: reconcile.Start}, restart(fuller)}, nil},
		"what is beside it does not matter":                 {[]reconcile.Change{restart(fuller), {ID: "c", Action: reconcile.Create}}, nil},
		"another machine of the name is another change":     {[]reconcile.Change{idle, restart(anew)}, []string{"b"}},
		"what is done already is outdated":                  {[]reconcile.Change{idle, {ID: "b", Have: &fuller}}, []string{"b"}},
		"what nobody wants any more is outdated":            {[]reconcile.Change{idle}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, part.Outdated(reconcile.Plan{Changes: tt.now})); d != "" {
				t.Errorf("outdated (-want +got):\n%s", d)
			}
		})
	}
}
