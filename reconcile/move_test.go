package reconcile

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
)

// away is acme before its directory was moved; gone returns m with an owner whose file is gone.
var away = machine.Owner{Project: "acme", File: "/old/machines.hcl"}

func gone(m machine.Machine) machine.Machine { m.OwnerGone = true; return m }

// movedTo returns acme's situation after "dev" was renamed to "box" in its file.
func movedTo(box machine.Spec, have ...machine.Machine) Situation {
	s := situation([]machine.Spec{box}, have)
	s.Moved = map[string]string{"box": "dev"}
	return s
}

func TestMoveKeepsTheDisk(t *testing.T) {
	dev, box := spec("dev"), spec("box")
	moves := []string{"stop dev", "move dev -> box"}
	tests := map[string]struct {
		situation Situation
		action    Action
		attrs     string
		steps     []string
	}{
		"a running machine is stopped, moved and started": {
			movedTo(box, running(dev)), Move, "", append(moves, "configure", "start"),
		},
		"a stopped machine is moved and started": {
			movedTo(box, stopped(dev)), Move, "", append(moves, "configure", "start"),
		},
		"a machine declared as stopped is not started": {
			func() Situation { s := movedTo(box, running(dev)); s.Want[0].Stopped = true; return s }(),
			Move, "", append(moves, "configure"),
		},
		"other settings are applied too": {
			movedTo(spec("box", cpus(4), services()), running(dev)),
			Move, "cpus 2 -> 4; services - postgresql", append(moves, "configure", "start"),
		},
		"a moved machine needs no change":                        {movedTo(box, running(box)), None, "", nil},
		"without an old machine it is created":                   {movedTo(box), Create, "image debian:12, cpus 2, memory 4G, disk 64G, home_mount rw, services postgresql", []string{"create", "start"}},
		"another owner's machine of the old name does not count": {movedTo(box, running(spec("dev", owner(machine.Owner{Project: "b", File: "/b"})))), Create, "image debian:12, cpus 2, memory 4G, disk 64G, home_mount rw, services postgresql", []string{"create", "start"}},
		"a broken machine is stopped, moved and repaired":        {movedTo(box, in(machine.Broken, stopped(dev))), Repair, "", append(moves, "repair", "start")},
		"an unreadable machine is stopped, moved and repaired":   {movedTo(box, unreadable("dev")), Repair, "", append(moves, "repair", "start")},
		"the project's directory has moved too": {
			movedTo(box, gone(running(spec("dev", owner(away))))),
			Move, "file /old/machines.hcl -> /acme/machines.hcl", append(moves, "configure", "start"),
		},
		"another image replaces the machine under the new name": {
			movedTo(spec("box", digest("2")), running(dev)),
			Replace, "digest sha256:111111111111 -> sha256:222222222222  # forces replacement", append(moves, "replace", "start"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(tt.situation)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Changes) != 1 {
				t.Fatalf("%d changes, want 1:\n%s", len(plan.Changes), Text(plan))
			}
			c := plan.Changes[0]
			if c.ID != "box" || c.Action != tt.action || attrsText(c) != tt.attrs {
				t.Errorf("%s of %s with %q, want %s of box with %q", c.Action, c.ID, attrsText(c), tt.action, tt.attrs)
			}
			if lost := c.DataLost != 0; lost != (tt.action == Replace) {
				t.Errorf("%s loses %d bytes", c.Action, c.DataLost)
			}
			if got, want := strings.Join(stepNames(c), ", "), strings.Join(tt.steps, ", "); got != want {
				t.Errorf("steps are %s, want %s", got, want)
			}
		})
	}
}

// stepNames returns the steps of a change. Steps on a machine that still has its old name
// include that name.
func stepNames(c Change) []string {
	if c.Action == None {
		return nil
	}
	names := []string{}
	for i, s := range c.steps() {
		switch {
		case s.name == move.name:
			names = append(names, "move "+c.From+" -> "+c.ID)
		case s.name == stopOld.name && i == 0 && c.From != "":
			names = append(names, "stop "+c.From)
		default:
			names = append(names, s.name)
		}
	}
	return names
}

func TestMoveToATakenNameFails(t *testing.T) {
	dev, box := spec("dev"), spec("box")
	both := movedTo(box, running(dev), stopped(box))
	var two *MoveError
	if _, err := Diff(both); !errors.As(err, &two) || two.From != "dev" || two.To != "box" || two.Remedy() == "" {
		t.Errorf("both exist: %v, want a MoveError", err)
	}

	// Without the move, the plan would delete dev. No target may lead to that.
	theirs := movedTo(box, running(dev), stopped(spec("box", owner(machine.Owner{}))))
	for _, target := range [][]string{nil, {"box"}, {"dev"}} {
		theirs.Target = target
		var clash *ClashError
		if plan, err := Diff(theirs); !errors.As(err, &clash) || clash.ID != "box" || len(plan.Changes) != 0 {
			t.Errorf("target %v: another owner's box gave %v and\n%s", target, err, Text(plan))
		}
	}
}

func TestMovedDirectoryKeepsItsMachines(t *testing.T) {
	dev, db := spec("dev", owner(away)), spec("db", owner(away))
	have := []machine.Machine{gone(running(dev)), gone(stopped(db)), running(spec("other"))}
	s := situation([]machine.Spec{spec("dev"), spec("other")}, have)
	plan, err := Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Changes) != 2 || plan.Changes[0].Action != Reconfigure || attrsText(plan.Changes[0]) != "file /old/machines.hcl -> /acme/machines.hcl" {
		t.Errorf("want only a reconfigure of dev, and no change of db, which left the file:\n%s", Text(plan))
	}
	if halt := Halt(s); halt.Count(Stop) != 2 {
		t.Errorf("halt before the next apply does not stop both machines:\n%s", Text(halt))
	}
	all, err := Destroy(s)
	if err != nil || len(all.Changes) != 2 || all.Count(Delete) != 2 {
		t.Errorf("destroy before the next apply does not delete both machines: %v\n%s", err, Text(all))
	}
}

func TestRemedyAfterRenamingTheDirectory(t *testing.T) {
	before := machine.Owner{Project: "acme-old", File: "/acme-old/machines.hcl"}
	_, err := Diff(situation([]machine.Spec{spec("dev")}, []machine.Machine{gone(running(spec("dev", owner(before))))}))
	var clash *ClashError
	if !errors.As(err, &clash) || !strings.Contains(err.Error(), "no longer exists") {
		t.Fatalf("got %v, want a ClashError that says that the file no longer exists", err)
	}
	for _, want := range []string{"stead adopt dev", `project = "acme-old"`} {
		if !strings.Contains(clash.Remedy(), want) {
			t.Errorf("the remedy lacks %q: %s", want, clash.Remedy())
		}
	}
}

func TestRemedyNeedsForceOnlyForAnotherProject(t *testing.T) {
	for name, tt := range map[string]struct {
		owner machine.Owner
		force bool
	}{
		"no project":                        {machine.Owner{}, false},
		"the same file under a former name": {machine.Owner{Project: "acme-old", File: acme.File}, false},
		"another project":                   {machine.Owner{Project: "other", File: "/other/machines.hcl"}, true},
	} {
		err := clash(ptrTo(running(spec("dev", owner(tt.owner)))), acme)
		if got := strings.Contains(err.Remedy(), "--force"); got != tt.force {
			t.Errorf("%s: %s", name, err.Remedy())
		}
	}
}

func ptrTo[T any](v T) *T { return &v }
