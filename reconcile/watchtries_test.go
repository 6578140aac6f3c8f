package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/reconciletest"
)

func TestFailuresAreRetriedWithBackoffAndWhenAFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev"), declaredMachine("web")}}
		w.host.Fail = func(op, id string) error {
			if refuse && op == "check" && id == "dev" {
				return errInjected
			}
			return nil
		}
		r := watch(t, w, reconcile.WatchOptions{})
		r.pass(time.Millisecond)
		failed := `error: machine "dev": create was not started: injected failure`
		r.heard("applies create dev create web", failed, "applies create web")

		began := time.Now()
		var at []time.Duration
		for time.Since(began) < 20*time.Minute {
			r.pass(500 * time.Millisecond)
			if said, _ := r.taken(); slices.Contains(said, failed) {
				at = append(at, time.Since(began).Round(time.Second))
			}
			poke(r.machines) // the failed try may change files
		}
		text := strings.Trim(fmt.Sprint(at), "[]")
		if want := "1s 3s 7s 15s 31s 1m3s 2m7s 4m15s 8m31s 13m31s 18m31s"; text != want {
			t.Errorf("tries after %s, want %s", text, want)
		}

		r.saved()
		r.heard("applies create dev", failed)
		refuse = false
		r.saved()
		r.heard("applies create dev")
	})
}

func TestFailingNotesAreRetriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		w.host.Fail = func(op, _ string) error {
			if op == "note" {
				return errInjected
			}
			return nil
		}
		r := watch(t, w, reconcile.WatchOptions{})
		r.pass(time.Hour)
		if said, _ := r.taken(); len(said) < 10 || len(said) > 30 {
			t.Errorf("%d reports in an hour, want 10 to 30", len(said))
		}
	})
}

func TestRepeatedDriftIsRevertedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeProject{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		r := watch(t, w, reconcile.WatchOptions{RepairDrift: true})
		r.pass(time.Minute)
		r.taken()
		for range 60 * 60 {
			_ = w.host.Stop(t.Context(), "dev")
			r.touched()
			r.pass(time.Second - reconcile.DefaultQuiet)
		}
		if said, _ := r.taken(); len(said) < 10 || len(said) > 25 {
			t.Errorf("started %d times in an hour, want 10 to 25", len(said))
		}
		r.pass(time.Hour)
		r.taken()
		_ = w.host.Stop(t.Context(), "dev")
		r.touched()
		r.heard("applies start dev")
	})
}
