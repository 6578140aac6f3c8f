package reconcile

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/machine"
)

// away is acme before its folder was moved; gone is m of an owner without a file.
var away = machine.Owner{Project: "acme", File: "/old/machines.hcl"}

func gone(m machine.Machine) machine.Machine { m.OwnerGone = true; return m }

// movedTo is acme's situation after "dev" was renamed to "box" in its file.
func movedTo(box machine.Spec, have ...machine.Machine) Situation {
	s := situation([]machine.Spec{box}, have)
	s.Moved = map[string]string{"box": "dev"}
	return s
}

func TestAMovedMachineKeepsItsDisk(t *testing.T) {
	dev, box := spec("dev"), spec("box")
	moves := []string{"stop dev", "move dev -> box"}
	tests := map[string]struct {
		situation Situation
		action    Action
		attrs     string
		steps     []string
	}{
		"a running one is stopped, moved and started": {
			movedTo(box, running(dev)), Move, "", append(moves, "configure", "start"),
		},
		"a stopped one is moved and started": {
			movedTo(box, stopped(dev)), Move, "", append(moves, "configure", "start"),
		},
		"one that is to be off stays off": {
			func() Situation { s := movedTo(box, running(dev)); s.Want[0].Stopped = true; return s }(),
			Move, "", append(moves, "configure"),
		},
		"other settings come along": {
			movedTo(spec("box", cpus(4), services()), running(dev)),
			Move, "cpus 2 -> 4; services - postgresql", append(moves, "configure", "start"),
		},
		"one that was moved before is left alone":         {movedTo(box, running(box)), None, "", nil},
		"one that never was is created":                   {movedTo(box), Create, "image debian:12, cpus 2, memory 4G, disk 64G, services postgresql", []string{"create", "start"}},
		"somebody else's machine of the old name is none": {movedTo(box, running(spec("dev", owner(machine.Owner{Project: "b", File: "/b"})))), Create, "image debian:12, cpus 2, memory 4G, disk 64G, services postgresql", []string{"create", "start"}},
		"a broken one is stopped, moved and repaired":     {movedTo(box, in(machine.Broken, stopped(dev))), Repair, "", append(moves, "repair", "start")},
		"one that cannot be read at all, too":             {movedTo(box, unreadable("dev")), Repair, "", append(moves, "repair", "start")},
		"the folder may have moved as well": {
			movedTo(box, gone(running(spec("dev", owner(away))))),
			Move, "file /old/machines.hcl -> /acme/machines.hcl", append(moves, "configure", "start"),
		},
		"another image replaces it under the new name": {
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

// stepNames tells what is done, with the name that the machine has at that moment where
// that is not the new one.
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

func TestAMoveIsRefusedWhereItsNewNameIsTaken(t *testing.T) {
	dev, box := spec("dev"), spec("box")
	both := movedTo(box, running(dev), stopped(box))
	var two *MoveError
	if _, err := Diff(both); !errors.As(err, &two) || two.From != "dev" || two.To != "box" || two.Remedy() == "" {
		t.Errorf("both exist: %v, want a MoveError", err)
	}

	// Without the move, dev would be a machine that left the file: no target may lead there.
	theirs := movedTo(box, running(dev), stopped(spec("box", owner(machine.Owner{}))))
	for _, target := range [][]string{nil, {"box"}, {"dev"}} {
		theirs.Target = target
		var clash *ClashError
		if plan, err := Diff(theirs); !errors.As(err, &clash) || clash.ID != "box" || len(plan.Changes) != 0 {
			t.Errorf("target %v: somebody else's box gave %v and\n%s", target, err, Text(plan))
		}
	}
}

func TestMovingTheFolderTakesItsMachinesAlong(t *testing.T) {
	dev, db := spec("dev", owner(away)), spec("db", owner(away))
	have := []machine.Machine{gone(running(dev)), gone(stopped(db)), running(spec("other"))}
	s := situation([]machine.Spec{spec("dev"), spec("other")}, have)
	plan, err := Diff(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Changes) != 2 || plan.Changes[0].Action != Reconfigure || attrsText(plan.Changes[0]) != "file /old/machines.hcl -> /acme/machines.hcl" {
		t.Errorf("a machine is not just written down anew, or one that the file has no more is touched:\n%s", Text(plan))
	}
	if halt := Halt(s); halt.Count(Stop) != 2 {
		t.Errorf("halt before the next apply:\n%s", Text(halt))
	}
	all, err := Destroy(s)
	if err != nil || len(all.Changes) != 2 || all.Count(Delete) != 2 {
		t.Errorf("destroy before the next apply: %v\n%s", err, Text(all))
	}
}

func TestAnotherNameOfTheFolderIsAClashThatSaysHowToGoOn(t *testing.T) {
	before := machine.Owner{Project: "acme-old", File: "/acme-old/machines.hcl"}
	_, err := Diff(situation([]machine.Spec{spec("dev")}, []machine.Machine{gone(running(spec("dev", owner(before))))}))
	var clash *ClashError
	if !errors.As(err, &clash) || !strings.Contains(err.Error(), "is gone") {
		t.Fatalf("got %v, want a ClashError that says that the file is gone", err)
	}
	for _, way := range []string{"stead adopt dev", `project = "acme-old"`} {
		if !strings.Contains(clash.Remedy(), way) {
			t.Errorf("the remedy lacks %q: %s", way, clash.Remedy())
		}
	}
}

func TestOnlyAnotherProjectsMachineTakesForceToAdopt(t *testing.T) {
	for name, tt := range map[string]struct {
		owner machine.Owner
		force bool
	}{
		"a person's":                     {machine.Owner{}, false},
		"the file's under a former name": {machine.Owner{Project: "acme-old", File: acme.File}, false},
		"another project's":              {machine.Owner{Project: "other", File: "/other/machines.hcl"}, true},
	} {
		err := clash(ptrTo(running(spec("dev", owner(tt.owner)))), acme)
		if got := strings.Contains(err.Remedy(), "--force"); got != tt.force {
			t.Errorf("%s: %s", name, err.Remedy())
		}
	}
}

func ptrTo[T any](v T) *T { return &v }
