package reconcile

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
)

// wish is a wanted machine of acme.
func wish(s machine.Spec, edits ...func(*Goal)) Goal {
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

// plans is what is planned, a line for each change that does something.
func plans(p Plan) []string {
	var lines []string
	for _, c := range p.Changes {
		if c.Action != None {
			lines = append(lines, strings.TrimSpace(c.Action.String()+" "+c.ID))
		}
	}
	return lines
}

func TestDiffOfAMachineThatIsNotToRun(t *testing.T) {
	dev := spec("dev")
	booting := in(machine.Booting, running(dev))
	tests := map[string]struct {
		want   Goal
		have   []machine.Machine
		action Action
		attrs  string
		steps  []string
	}{
		"it is created and not started": {wish(dev, off), nil, Create, "image debian:12, cpus 2, memory 4G, disk 64G, services postgresql", []string{"create"}},
		"stopped it is left alone":      {wish(dev, off), []machine.Machine{stopped(dev)}, None, "", nil},
		"running it is stopped":         {wish(dev, off), []machine.Machine{running(dev)}, Stop, "", []string{"stop"}},
		"booting it is stopped":         {wish(dev, off), []machine.Machine{booting}, Stop, "", []string{"stop"}},
		"its settings are written, and it is not started": {
			wish(spec("dev", cpus(4)), off), []machine.Machine{stopped(dev)}, Reconfigure, "cpus 2 -> 4", []string{"configure"},
		},
		"its settings are written before it stops": {
			wish(spec("dev", cpus(4)), off), []machine.Machine{running(dev)}, Stop, "cpus 2 -> 4", []string{"configure", "stop"},
		},
		"settings that were written already only need the stop": {
			wish(spec("dev", cpus(4)), off), []machine.Machine{set(running(dev), cpus(4))}, Stop, "", []string{"stop"},
		},
		"it is made anew and not started": {
			wish(spec("dev", disk(32)), off), []machine.Machine{running(dev)}, Replace, "disk 64G -> 32G  # forces replacement", []string{"replace"},
		},
		"it is repaired and not started": {wish(dev, off), []machine.Machine{in(machine.Broken, stopped(dev))}, Repair, "", []string{"repair"}},
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

func TestAKeptImageMakesNoOtherMachine(t *testing.T) {
	dev := spec("dev")
	other := spec("dev", image("debian:13"), digest("2"))
	tests := map[string]struct {
		want Goal
		have []machine.Machine
		plan []string
		made string // the digest that the change is about
	}{
		"another image is nothing":             {wish(other, keepImage), []machine.Machine{running(dev)}, nil, dev.Digest},
		"other settings are still a restart":   {wish(spec("dev", digest("2"), cpus(4)), keepImage), []machine.Machine{running(dev)}, []string{"restart dev"}, dev.Digest},
		"a new machine is of the new image":    {wish(other, keepImage), nil, []string{"create dev"}, other.Digest},
		"and so is one that is made anew":      {wish(spec("dev", digest("2"), disk(32)), keepImage), []machine.Machine{running(dev)}, []string{"replace dev"}, other.Digest},
		"or of which nothing can be read":      {wish(other, keepImage), []machine.Machine{unreadable("dev")}, []string{"repair dev"}, other.Digest},
		"a broken one keeps its image as well": {wish(other, keepImage), []machine.Machine{in(machine.Broken, stopped(dev))}, []string{"repair dev"}, dev.Digest},
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
				t.Errorf("the machine is of %s, want %s", got, tt.made)
			}
		})
	}
}

func TestADiskThatMustNotBeLostStopsThePlan(t *testing.T) {
	guarded := running(spec("dev", protect))
	tests := map[string]struct {
		s       Situation
		allowed bool
	}{
		"a replacement is refused":                  {s: Situation{Want: []Goal{wish(spec("dev", digest("2")), protected)}, Have: []machine.Machine{guarded}}},
		"one that was asked for, too":               {s: Situation{Want: []Goal{wish(spec("dev"), protected)}, Have: []machine.Machine{guarded}, Replace: []string{"dev"}}},
		"and so is a machine that left the file":    {s: Situation{Have: []machine.Machine{guarded}}},
		"the file may take the protection away":     {allowed: true, s: Situation{Want: []Goal{wish(spec("dev", digest("2")))}, Have: []machine.Machine{guarded}}},
		"and may give it while the machine is kept": {allowed: true, s: Situation{Want: []Goal{wish(spec("dev"), protected)}, Have: []machine.Machine{running(spec("dev"))}}},
		"a restart loses nothing":                   {allowed: true, s: Situation{Want: []Goal{wish(spec("dev", cpus(4)), protected)}, Have: []machine.Machine{guarded}}},
		"another target is none of its business":    {allowed: true, s: Situation{Want: []Goal{wish(spec("dev", digest("2")), protected), wish(spec("web"))}, Have: []machine.Machine{guarded}, Target: []string{"web"}}},
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
		t.Error("destroy takes a disk that must not be lost")
	}
}

func TestAPlanCanBeLimited(t *testing.T) {
	want := []Goal{
		wish(spec("db", cpus(4))), wish(spec("web", cpus(4)), after("db")), wish(spec("lab", cpus(4))),
	}
	have := []machine.Machine{running(spec("db")), running(spec("web")), running(spec("lab")), running(spec("old"))}
	tests := map[string]struct {
		edit func(*Situation)
		want []string
	}{
		"not at all":                         {func(*Situation) {}, []string{"restart db", "restart lab", "delete old", "restart web"}},
		"to a machine":                       {func(s *Situation) { s.Target = []string{"lab"} }, []string{"restart lab"}},
		"to a machine and what it needs":     {func(s *Situation) { s.Target = []string{"web"} }, []string{"restart db", "restart web"}},
		"to one that left the file":          {func(s *Situation) { s.Target = []string{"old"} }, []string{"delete old"}},
		"to what takes no restart":           {func(s *Situation) { s.NoRestart = true }, []string{"reconfigure db", "reconfigure lab", "delete old", "reconfigure web"}},
		"a machine is made anew when wished": {func(s *Situation) { s.Target, s.Replace = []string{"lab"}, []string{"lab"} }, []string{"replace lab"}},
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
	for _, s := range []Situation{{Target: []string{"nobody"}}, {Replace: []string{"theirs"}}} {
		s.Owner, s.Want, s.Have = acme, want, []machine.Machine{running(spec("theirs", owner(machine.Owner{})))}
		if _, err := Diff(s); !errors.As(err, &unknown) || unknown.Remedy() == "" {
			t.Errorf("Diff = %v, want an UnknownError", err)
		}
	}
}

func TestARestartThatWaitsIsNotPlannedAgainAndAgain(t *testing.T) {
	want := spec("dev", cpus(4), services())
	s := situation([]machine.Spec{want}, []machine.Machine{running(spec("dev"))})
	s.NoRestart = true
	plan, err := Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := attrsText(plan.Changes[0]); plan.Changes[0].Action != Update || got != "cpus 2 -> 4  # waits for a restart; services - postgresql" {
		t.Errorf("the plan is %v (%s)", plan.Changes[0].Action, got)
	}
	written := set(running(spec("dev", services())), cpus(4)) // as it was left by that plan
	s.Have = []machine.Machine{written}
	if plan, err = Diff(s); err != nil || !plan.Empty() || !strings.Contains(Text(plan), "wait for a restart") {
		t.Errorf("the next plan is %v, %v, %q", plans(plan), err, Text(plan))
	}
	s.NoRestart = false
	if plan, err = Diff(s); err != nil || plan.Count(Restart) != 1 {
		t.Errorf("without the flag the plan is %v, %v", plans(plan), err)
	}
}

func TestMachinesComeUpAfterWhatTheyNeedAndGoDownBeforeIt(t *testing.T) {
	want := []Goal{wish(spec("db")), wish(spec("api"), after("db")), wish(spec("web"), after("api", "db"))}
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
	created, err := Diff(Situation{Owner: acme, Want: want})
	if err != nil {
		t.Fatal(err)
	}
	destroyed, err := Destroy(Situation{Owner: acme, Want: want, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i].Stopped = true
	}
	stoppedAll, err := Diff(Situation{Owner: acme, Want: want, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ got, want map[string][]string }{
		"create":  {orders(created), up},
		"destroy": {orders(destroyed), down},
		"halt":    {orders(Halt(Situation{Owner: acme, Want: want, Have: have})), down},
		"stop":    {orders(stoppedAll), down},
	} {
		if d := cmp.Diff(tt.want, tt.got); d != "" {
			t.Errorf("%s: order mismatch (-want +got):\n%s", name, d)
		}
	}
}

func TestDriftIsWhatSomebodyElseDid(t *testing.T) {
	dev, made := spec("dev"), time.Unix(1e9, 0)
	born := func(m machine.Machine) machine.Machine { m.Created = made; return m }
	other := born(running(dev))
	other.Created = made.Add(time.Hour)
	tests := map[string]struct {
		want  Goal
		have  []machine.Machine
		drift string // of dev
		only  bool   // the change is for the drift alone
	}{
		"nothing happened":                 {wish(dev), []machine.Machine{born(running(dev))}, "", false},
		"the file changed":                 {wish(spec("dev", cpus(4))), []machine.Machine{born(running(dev))}, "", false},
		"somebody set the cpus":            {wish(dev), []machine.Machine{born(set(running(dev), cpus(8)))}, "cpus 2 -> 8", true},
		"somebody set them, the file too":  {wish(spec("dev", cpus(4))), []machine.Machine{born(set(running(dev), cpus(8)))}, "cpus 2 -> 8", false},
		"somebody set what the file wants": {wish(spec("dev", cpus(4))), []machine.Machine{born(set(running(dev), cpus(4)))}, "", false},
		"somebody stopped it":              {wish(dev), []machine.Machine{born(stopped(dev))}, "was stopped", true},
		"the file stopped it":              {wish(dev, off), []machine.Machine{born(running(dev))}, "", false},
		"somebody removed it":              {wish(dev), nil, "was removed", true},
		"somebody made another one":        {wish(dev), []machine.Machine{other}, "was made anew", false},
		"somebody broke its files":         {wish(dev), []machine.Machine{in(machine.Broken, stopped(dev))}, "cannot be read", true},
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
				t.Errorf("%v is for the drift alone: %t, want %t", c.Action, c.DriftOnly, tt.only)
			}
		})
	}
}

func TestUpAndDownDoNotWaitForEachOther(t *testing.T) {
	// a goes down and needs b, which comes up and needs c, which goes down.
	want := []Goal{wish(spec("a"), off, after("b", "c")), wish(spec("b"), after("c")), wish(spec("c"), off)}
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

func TestAPlanWithACircleEnds(t *testing.T) {
	s := newSchedule([]Change{{ID: "a", After: []string{"b"}}, {ID: "b", After: []string{"a"}}, {ID: "c"}, {ID: "c"}}, Options{Parallelism: 2})
	errs := s.carryOut(func(Change) error { return nil })
	if errs[0] == nil || errs[1] == nil || errs[2] != nil || errs[3] != nil {
		t.Errorf("errors: %v", errs)
	}
}
