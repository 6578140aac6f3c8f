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

func TestAFailureIsTriedAgainEverMoreRarelyAndWhenAFileHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := true
		w := &watched{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev"), declaredMachine("web")}}
		w.host.Fail = func(op, id string) error {
			if refuse && op == "check" && id == "dev" {
				return errDisturbed
			}
			return nil
		}
		r := watch(t, w, reconcile.WatchOptions{})
		r.pass(time.Millisecond)
		failed := `error: machine "dev": create was not begun: disturbed`
		r.heard("applies create dev create web", failed, "applies create web")

		began := time.Now()
		var at []time.Duration
		for time.Since(began) < 20*time.Minute {
			r.pass(500 * time.Millisecond)
			if said, _ := r.taken(); slices.Contains(said, failed) {
				at = append(at, time.Since(began).Round(time.Second))
			}
			poke(r.machines) // the failed try leaves traces
		}
		text := strings.Trim(fmt.Sprint(at), "[]")
		if want := "1s 3s 7s 15s 31s 1m3s 2m7s 4m15s 8m31s 13m31s 18m31s"; text != want {
			t.Errorf("it was tried after %s, want %s", text, want)
		}

		r.saved()
		r.heard("applies create dev", failed)
		refuse = false
		r.saved()
		r.heard("applies create dev")
	})
}

func TestNotesThatCannotBeTakenAreTriedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		w.host.Fail = func(op, _ string) error {
			if op == "note" {
				return errDisturbed
			}
			return nil
		}
		r := watch(t, w, reconcile.WatchOptions{})
		r.pass(time.Hour)
		if said, _ := r.taken(); len(said) < 10 || len(said) > 30 {
			t.Errorf("in an hour %d things were said", len(said))
		}
	})
}

func TestAMachineThatDoesNotStayIsPutBackEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watched{host: reconciletest.New(), want: []reconcile.Goal{declaredMachine("dev")}}
		r := watch(t, w, reconcile.WatchOptions{RepairDrift: true})
		r.pass(time.Minute)
		r.taken()
		for range 60 * 60 {
			_ = w.host.Stop(t.Context(), "dev")
			r.touched()
			r.pass(time.Second - reconcile.DefaultQuiet)
		}
		if said, _ := r.taken(); len(said) < 10 || len(said) > 25 {
			t.Errorf("in an hour it was started %d times", len(said))
		}
		r.pass(time.Hour)
		r.taken()
		_ = w.host.Stop(t.Context(), "dev")
		r.touched()
		r.heard("applies start dev")
	})
}
