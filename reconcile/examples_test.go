package reconcile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

// Users copy the examples, so every one must plan and apply.
func TestExamplesPlanAndApply(t *testing.T) {
	files, err := filepath.Glob("../examples/*/" + config.FileName)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Fatalf("only %d examples: %v", len(files), files)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), "README.md")); err != nil {
				t.Errorf("an example needs a README: %v", err)
			}
			p, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			specs, err := reconcile.Desired(p, defaults())
			if err != nil {
				t.Fatal(err)
			}
			owner, h := reconcile.OwnerOf(p), reconciletest.New()
			diff := func() (reconcile.Plan, error) {
				return reconcile.Diff(reconcile.Situation{Owner: owner, Want: specs, Have: h.Machines(), Applied: h.Applied()})
			}
			plan, err := diff()
			if err != nil {
				t.Fatal(err)
			}
			if n := plan.Count(reconcile.Create); n == 0 || n != len(p.Machines) {
				t.Errorf("%d of %d machines are created:\n%s", n, len(p.Machines), reconcile.Text(plan))
			}
			if err := reconcile.Apply(t.Context(), h, plan, reconcile.Options{}); err != nil {
				t.Fatal(err)
			}
			if plan, err = diff(); err != nil || !plan.Empty() {
				t.Errorf("after apply, the plan is not empty: %v\n%s", err, reconcile.Text(plan))
			}
		})
	}
}
