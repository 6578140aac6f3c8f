package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
)

// goal returns the goal of a machine of acme, changed by edits.
func goal(s machine.Spec, edits ...func(*Goal)) Goal {
	w := Goal{Spec: s}
	for _, edit := range edits {
		edit(&w)
	}
	return w
}

func off(w *Goal)             { w.Stopped = true }
func keepImage(w *Goal)       { w.KeepImage = true }
func protected(w *Goal)       { w.PreventDestroy = true }
func protect(s *machine.Spec) { s.PreventDestroy = true }
func after(ids ...string) func(*Goal) {
	return func(w *Goal) { w.After = ids }
}

// plans returns the actions of a plan, a line each.
func plans(p Plan) []string {
	var lines []string
	for _, c := range p.Changes {
		if c.Action != None {
			lines = append(lines, strings.TrimSpace(c.Action.String()+" "+c.ID))
		}
	}
	return lines
}

func TestDiffOfStoppedMachines(t *testing.T) {
	dev := spec("dev")
	booting := in(machine.Booting, running(dev))
	tests := map[string]struct {
		want   Goal
		have   []machine.Machine
		action Action
		attrs  string
		steps  []string
	}{
		"created and not started": {goal(dev, off), nil, Create, "image debian:12, cpus 2, memory 4G, disk 64G, home_mount rw, services postgresql", []string{"create"}},
		"stopped: no change":      {goal(dev, off), []machine.Machine{stopped(dev)}, None, "", nil},
		"running: stopped":        {goal(dev, off), []machine.Machine{running(dev)}, Stop, "", []string{"stop"}},
		"booting: stopped":        {goal(dev, off), []machine.Machine{booting}, Stop, "", []string{"stop"}},
		"settings are written without a start": {
			goal(spec("dev", cpus(4)), off), []machine.Machine{stopped(dev)}, Reconfigure, "cpus 2 -> 4", []string{"configure"},
		},
		"settings are written before the stop": {
			goal(spec("dev", cpus(4)), off), []machine.Machine{running(dev)}, Stop, "cpus 2 -> 4", []string{"configure", "stop"},
		},
		"edited settings that match need only the stop": {
			goal(spec("dev", cpus(4)), off), []machine.Machine{set(running(dev), cpus(4))}, Stop, "", []string{"stop"},
		},
		"replaced and not started": {
			goal(spec("dev", disk(32)), off), []machine.Machine{running(dev)}, Replace, "disk 64G -> 32G  # forces replacement", []string{"replace"},
		},
		"repaired and not started": {goal(dev, off), []machine.Machine{in(machine.Broken, stopped(dev))}, Repair, "", []string{"repair"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(Situation{Owner: acme, Want: []Goal{tt.want}, Have: tt.have})
			if err != nil {
				t.Fatal(err)
			}
			c := plan.Changes[0]
			if got := attrsText(c); c.Action != tt.action || got != tt.attrs {
				t.Errorf("the plan is %v (%s), want %v (%s)", c.Action, got, tt.action, tt.attrs)
			}
			var steps []string
			for _, s := range c.steps() {
				steps = append(steps, s.name)
			}
			if d := cmp.Diff(tt.steps, steps); d != "" {
				t.Errorf("steps mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestKeepImage(t *testing.T) {
	dev := spec("dev")
	other := spec("dev", image("debian:13"), digest("2"))
	tests := map[string]struct {
		want Goal
		have []machine.Machine
		plan []string
		made string // the digest that the change wants
	}{
		"another image: no change":                 {goal(other, keepImage), []machine.Machine{running(dev)}, nil, dev.Digest},
		"other settings still restart":             {goal(spec("dev", digest("2"), cpus(4)), keepImage), []machine.Machine{running(dev)}, []string{"restart dev"}, dev.Digest},
		"a new machine gets the new image":         {goal(other, keepImage), nil, []string{"create dev"}, other.Digest},
		"a replaced machine gets the new image":    {goal(spec("dev", digest("2"), disk(32)), keepImage), []machine.Machine{running(dev)}, []string{"replace dev"}, other.Digest},
		"an unreadable machine gets the new image": {goal(other, keepImage), []machine.Machine{unreadable("dev")}, []string{"repair dev"}, other.Digest},
		"a broken machine keeps its image":         {goal(other, keepImage), []machine.Machine{in(machine.Broken, stopped(dev))}, []string{"repair dev"}, dev.Digest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(Situation{Owner: acme, Want: []Goal{tt.want}, Have: tt.have})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.plan, plans(plan)); d != "" {
				t.Errorf("plan mismatch (-want +got):\n%s", d)
			}
			if got := plan.Changes[0].Want.Digest; got != tt.made {
				t.Errorf("the machine has the digest %s, want %s", got, tt.made)
			}
		})
	}
}

func TestPreventDestroy(t *testing.T) {
	guarded := running(spec("dev", protect))
	tests := map[string]struct {
		s       Situation
		allowed bool
	}{
		"a replacement is refused":           {s: Situation{Want: []Goal{goal(spec("dev", digest("2")), protected)}, Have: []machine.Machine{guarded}}},
		"a requested replacement is refused": {s: Situation{Want: []Goal{goal(spec("dev"), protected)}, Have: []machine.Machine{guarded}, Replace: []string{"dev"}}},
		"a delete is refused":                {s: Situation{Have: []machine.Machine{guarded}}},
		"the file can remove the protection": {allowed: true, s: Situation{Want: []Goal{goal(spec("dev", digest("2")))}, Have: []machine.Machine{guarded}}},
		"the file can add the protection":    {allowed: true, s: Situation{Want: []Goal{goal(spec("dev"), protected)}, Have: []machine.Machine{running(spec("dev"))}}},
		"a restart is allowed":               {allowed: true, s: Situation{Want: []Goal{goal(spec("dev", cpus(4)), protected)}, Have: []machine.Machine{guarded}}},
		"another target is allowed":          {allowed: true, s: Situation{Want: []Goal{goal(spec("dev", digest("2")), protected), goal(spec("web"))}, Have: []machine.Machine{guarded}, Target: []string{"web"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.s.Owner = acme
			plan, err := Diff(tt.s)
			if tt.allowed {
				if err != nil {
					t.Errorf("the plan is refused: %v", err)
				}
				return
			}
			var prevented *PreventedError
			if !errors.As(err, &prevented) || len(plan.Changes) > 0 || prevented.ID != "dev" || prevented.Remedy() == "" {
				t.Errorf("Diff = %+v, %v; want a PreventedError about dev and no plan", plan, err)
			}
		})
	}
	if _, err := Destroy(Situation{Owner: acme, Have: []machine.Machine{guarded, running(spec("web"))}}); err == nil {
		t.Error("Destroy plans to lose a protected disk")
	}
}

func TestPlanOptions(t *testing.T) {
	want := []Goal{
		goal(spec("db", cpus(4))), goal(spec("web", cpus(4)), after("db")), goal(spec("lab", cpus(4))),
	}
	have := []machine.Machine{running(spec("db")), running(spec("web")), running(spec("lab")), running(spec("old"))}
	tests := map[string]struct {
		edit func(*Situation)
		want []string
	}{
		"none":                      {func(*Situation) {}, []string{"restart db", "restart lab", "delete old", "restart web"}},
		"target":                    {func(s *Situation) { s.Target = []string{"lab"} }, []string{"restart lab"}},
		"target with dependencies":  {func(s *Situation) { s.Target = []string{"web"} }, []string{"restart db", "restart web"}},
		"target that left the file": {func(s *Situation) { s.Target = []string{"old"} }, []string{"delete old"}},
		"no restart":                {func(s *Situation) { s.NoRestart = true }, []string{"reconfigure db", "reconfigure lab", "delete old", "reconfigure web"}},
		"replace":                   {func(s *Situation) { s.Target, s.Replace = []string{"lab"}, []string{"lab"} }, []string{"replace lab"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Situation{Owner: acme, Want: want, Have: have}
			tt.edit(&s)
			plan, err := Diff(s)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, plans(plan)); d != "" {
				t.Errorf("plan mismatch (-want +got):\n%s", d)
			}
		})
	}
	var unknown *UnknownError
	for _, s := range []Situation{{Target: []string{"missing"}}, {Replace: []string{"theirs"}}} {
		s.Owner, s.Want, s.Have = acme, want, []machine.Machine{running(spec("theirs", owner(machine.Owner{})))}
		if _, err := Diff(s); !errors.As(err, &unknown) || unknown.Remedy() == "" {
			t.Errorf("Diff = %v, want an UnknownError", err)
		}
	}
}

func TestPendingRestartIsNotPlannedAgain(t *testing.T) {
	want := spec("dev", cpus(4), services())
	s := situation([]machine.Spec{want}, []machine.Machine{running(spec("dev"))})
	s.NoRestart = true
	plan, err := Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := attrsText(plan.Changes[0]); plan.Changes[0].Action != Update || got != "cpus 2 -> 4  # needs a restart; services - postgresql" {
		t.Errorf("the plan is %v (%s)", plan.Changes[0].Action, got)
	}
	written := set(running(spec("dev", services())), cpus(4)) // as that plan left it
	s.Have = []machine.Machine{written}
	if plan, err = Diff(s); err != nil || !plan.Empty() || !strings.Contains(Text(plan), "need a restart") {
		t.Errorf("the next plan is %v, %v, %q", plans(plan), err, Text(plan))
	}
	s.NoRestart = false
	if plan, err = Diff(s); err != nil || plan.Count(Restart) != 1 {
		t.Errorf("without the flag the plan is %v, %v", plans(plan), err)
	}
}

func TestOrderOfDependentMachines(t *testing.T) {
	want := []Goal{goal(spec("db")), goal(spec("api"), after("db")), goal(spec("web"), after("api", "db"))}
	have := []machine.Machine{running(spec("db")), running(spec("api")), running(spec("web"))}
	orders := func(p Plan) map[string][]string {
		m := map[string][]string{}
		for _, c := range p.Changes {
			m[c.ID] = c.After
		}
		return m
	}
	up := map[string][]string{"db": nil, "api": {"db"}, "web": {"api", "db"}}
	down := map[string][]string{"db": {"api", "web"}, "api": {"web"}, "web": nil}
	creation, err := Diff(Situation{Owner: acme, Want: want})
	if err != nil {
		t.Fatal(err)
	}
	destruction, err := Destroy(Situation{Owner: acme, Want: want, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Stopped = true
	}
	stopAll, err := Diff(Situation{Owner: acme, Want: want, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ got, want map[string][]string }{
		"create":  {orders(creation), up},
		"destroy": {orders(destruction), down},
		"halt":    {orders(Halt(Situation{Owner: acme, Want: want, Have: have})), down},
		"stop":    {orders(stopAll), down},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s: order mismatch (-want +got):\n%s", name, d)
		}
	}
}

func TestDrift(t *testing.T) {
	dev, made := spec("dev"), time.Unix(1e9, 0)
	withCreated := func(m machine.Machine) machine.Machine { m.Created = made; return m }
	other := withCreated(running(dev))
	other.Created = made.Add(time.Hour)
	tests := map[string]struct {
		want  Goal
		have  []machine.Machine
		drift string // of dev
		only  bool   // the change only reverts drift
	}{
		"no change":                                 {goal(dev), []machine.Machine{withCreated(running(dev))}, "", false},
		"the file changed":                          {goal(spec("dev", cpus(4))), []machine.Machine{withCreated(running(dev))}, "", false},
		"cpus edited outside":                       {goal(dev), []machine.Machine{withCreated(set(running(dev), cpus(8)))}, "cpus 2 -> 8", true},
		"cpus edited outside and in the file":       {goal(spec("dev", cpus(4))), []machine.Machine{withCreated(set(running(dev), cpus(8)))}, "cpus 2 -> 8", false},
		"cpus edited outside to the declared value": {goal(spec("dev", cpus(4))), []machine.Machine{withCreated(set(running(dev), cpus(4)))}, "", false},
		"stopped outside":                           {goal(dev), []machine.Machine{withCreated(stopped(dev))}, "was stopped", true},
		"stopped in the file":                       {goal(dev, off), []machine.Machine{withCreated(running(dev))}, "", false},
		"removed outside":                           {goal(dev), nil, "was removed", true},
		"created again outside":                     {goal(dev), []machine.Machine{other}, "was created again", false},
		"files damaged outside":                     {goal(dev), []machine.Machine{in(machine.Broken, stopped(dev))}, "has unreadable files", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(Situation{
				Owner: acme, Want: []Goal{tt.want}, Have: tt.have,
				Applied: map[string]machine.Baseline{"dev": {Spec: dev, Created: made}, "gone": {Spec: spec("gone")}},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range plan.Drift {
				if d.What != "" {
					got = append(got, d.What)
				}
				for _, a := range d.Attrs {
					got = append(got, a.String())
				}
			}
			if text := strings.Join(got, "; "); text != tt.drift {
				t.Errorf("drift is %q, want %q", text, tt.drift)
			}
			if c := plan.Changes[0]; c.DriftOnly != tt.only {
				t.Errorf("%v: DriftOnly = %t, want %t", c.Action, c.DriftOnly, tt.only)
			}
		})
	}
}

func TestStartsAndStopsDoNotWaitForEachOther(t *testing.T) {
	// a stops and depends on b, which starts and depends on c, which stops.
	want := []Goal{goal(spec("a"), off, after("b", "c")), goal(spec("b"), after("c")), goal(spec("c"), off)}
	plan, err := Diff(Situation{Owner: acme, Want: want, Have: []machine.Machine{running(spec("a")), stopped(spec("b")), running(spec("c"))}})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][]string{"a": nil, "b": nil, "c": {"a"}} {
		for _, c := range plan.Changes {
			if d := cmp.Diff(want, c.After); c.ID == id && d != "" {
				t.Errorf("%s comes after (-want +got):\n%s", id, d)
			}
		}
	}
}

func TestCyclicPlanEnds(t *testing.T) {
	s := newSchedule([]Change{{ID: "a", After: []string{"b"}}, {ID: "b", After: []string{"a"}}, {ID: "c"}, {ID: "c"}}, Options{Parallelism: 2})
	errs := s.carryOut(func(Change) error { return nil })
	if errs[0] == nil || errs[1] == nil || errs[2] != nil || errs[3] != nil {
		t.Errorf("errors: %v", errs)
	}
}
