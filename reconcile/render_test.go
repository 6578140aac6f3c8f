package reconcile

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestText(t *testing.T) {
	same := running(spec("same"))
	mixed := mustDiff(t,
		[]machine.Spec{
			spec("api", cpus(4), services("postgresql", "redis")),
			spec("cache", services("redis")),
			spec("db", image("debian:13"), digest("2"), cpus(8)),
			spec("idle"),
			spec("lab", func(s *machine.Spec) {
				s.Virtualization, s.HomeMount, s.Kernel = true, machine.HomeNone, "/acme/vmlinuz"
			}),
			spec("lost"),
			spec("same"),
			spec("tiny", disk(32)),
		},
		[]machine.Machine{
			running(spec("api")), running(spec("cache")), running(spec("db")), stopped(spec("idle")),
			unreadable("lost"), same, stopped(spec("tiny")), stopped(spec("unwanted")),
		})
	tests := map[string]Plan{
		"mixed":   mixed,
		"nothing": mustDiff(t, []machine.Spec{same.Spec}, []machine.Machine{same}),
		"halt":    Halt(situation(nil, []machine.Machine{same})),
	}
	for name, plan := range tests {
		t.Run(name, func(t *testing.T) {
			checkGolden(t, "testdata/plan_"+name+".golden", Text(plan))
		})
	}
}

func mustDiff(t *testing.T, want []machine.Spec, have []machine.Machine) Plan {
	t.Helper()
	plan, err := Diff(situation(want, have))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s mismatch (-want +got; -update rewrites):\n%s", file, d)
	}
}

func TestEveryActionHasSymbolAndSteps(t *testing.T) {
	for a := range numActions {
		if (a.Symbol() == "") != (a == None) || a.Symbol() == "?" {
			t.Errorf("%v has the symbol %q", a, a.Symbol())
		}
		if (len(steps[a]) == 0) != (a == None) {
			t.Errorf("%v has %d steps", a, len(steps[a]))
		}
	}
}
