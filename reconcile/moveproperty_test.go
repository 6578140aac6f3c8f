package reconcile_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// drawMove draws a situation in which the project renames one of its machines.
func drawMove(t *rapid.T) reconcile.Situation {
	want, have := drawWorld(t)
	s := reconcile.Situation{Owner: acme, Want: append(want, drawGoal(t, "z")), Have: append(have, drawMachine(t, "y", acme))}
	s.Moved = map[string]string{"z": "y"}
	if rapid.Bool().Draw(t, "directory moved") {
		for i, m := range s.Have {
			if m.Owner == acme && rapid.Bool().Draw(t, "recorded before the move") {
				s.Have[i].Owner.File, s.Have[i].OwnerGone = "/before/machines.hcl", true
			}
		}
	}
	return s
}

func TestMoveConvergesAndKeepsDisks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawMove(t)
		plan, err := reconcile.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		var moved reconcile.Change
		for _, c := range plan.Changes {
			if c.ID == "z" {
				moved = c
			}
			if c.ID == "y" || c.Action == reconcile.Delete && c.Have.Owner != acme {
				t.Errorf("the plan changes %s of %+v", c.ID, c.Have.Owner)
			}
		}
		h := reconciletest.New(s.Have...)
		// A failure between any two steps must not change whether the disk is kept.
		left := rapid.IntRange(0, 8).Draw(t, "steps")
		h.Fail = func(op, _ string) error {
			if left--; left == 0 && op != "check" {
				return errInjected
			}
			return nil
		}
		_ = reconcile.Apply(t.Context(), h, plan, reconcile.Options{Parallelism: 1})
		h.Fail = nil
		s.Have = h.Machines()
		again, err := reconcile.Diff(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := reconcile.Apply(t.Context(), h, again, reconcile.Options{}); err != nil {
			t.Fatal(err)
		}
		s.Have = h.Machines()
		if plan, err := reconcile.Diff(s); err != nil || !plan.Empty() {
			t.Errorf("the plan is not empty: %v\n%s", err, reconcile.Text(plan))
		}
		for _, m := range h.Machines() {
			if kept := m.DiskUsed == moved.Have.DiskUsed; m.ID == "z" && kept == (moved.DataLost > 0) {
				t.Errorf("the disk was kept: %v, the plan said: %s", kept, reconcile.Text(plan))
			}
		}
	})
}
