package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

func TestOutdated(t *testing.T) {
	fuller := machine.Machine{Spec: machine.Spec{ID: "b", Digest: "sha256:1"}, DiskUsed: 2}
	recreated := machine.Machine{Spec: machine.Spec{ID: "b", Digest: "sha256:2"}}
	restart := func(m machine.Machine) reconcile.Change {
		return reconcile.Change{ID: "b", Action: reconcile.Restart, Have: &m}
	}
	idle := reconcile.Change{ID: "a"}
	part := reconcile.Plan{Changes: []reconcile.Change{idle, restart(machine.Machine{Spec: fuller.Spec, DiskUsed: 1})}}
	for name, tt := range map[string]struct {
		now  []reconcile.Change
		want []string
	}{
		"disk usage does not matter":                     {[]reconcile.Change{idle, restart(fuller)}, nil},
		"a machine without a change does not matter":     {[]reconcile.Change{{ID: "a", Action: reconcile.Start}, restart(fuller)}, nil},
		"machines outside of the plan do not matter":     {[]reconcile.Change{restart(fuller), {ID: "c", Action: reconcile.Create}}, nil},
		"a recreated machine is outdated":                {[]reconcile.Change{idle, restart(recreated)}, []string{"b"}},
		"a change that is already made is outdated":      {[]reconcile.Change{idle, {ID: "b", Have: &fuller}}, []string{"b"}},
		"a change that is no longer planned is outdated": {[]reconcile.Change{idle}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, part.Outdated(reconcile.Plan{Changes: tt.now})); d != "" {
				t.Errorf("outdated (-want +got):\n%s", d)
			}
		})
	}
}
