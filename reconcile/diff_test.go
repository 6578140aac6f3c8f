package reconcile

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
)

var (
	acme  = machine.Owner{Project: "acme", File: "/acme/machines.hcl"}
	amd64 = platform.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = platform.Platform{OS: "linux", Architecture: "arm64"}
	ada   = machine.User{Name: "ada", UID: 1000, GID: 1000}
)

// spec returns the spec of a machine of acme, changed by edits.
func spec(id string, edits ...func(*machine.Spec)) machine.Spec {
	s := machine.Spec{
		ID: id, Image: "debian:12", Digest: "sha256:" + strings.Repeat("1", 64), Platform: amd64,
		User: ada, Owner: acme,
		Settings: machine.Settings{
			CPUs: 2, Memory: 4 << 30, Disk: 64 << 30, HomeMount: machine.HomeReadWrite, Services: []string{"postgresql"},
		},
	}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

// situation returns the situation in which acme declares specs.
func situation(specs []machine.Spec, have []machine.Machine) Situation {
	s := Situation{Owner: acme, Have: have}
	for _, want := range specs {
		s.Want = append(s.Want, Goal{Spec: want})
	}
	return s
}

func destroyAll(t *testing.T, have []machine.Machine) Plan {
	t.Helper()
	plan, err := Destroy(situation(nil, have))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// stopped and running return a machine with the spec s and 3 GiB of data.
func stopped(s machine.Spec) machine.Machine {
	return machine.Machine{Spec: s, State: machine.Stopped, DiskUsed: 3 << 30}
}

func running(s machine.Spec) machine.Machine {
	m := stopped(s)
	booted := s.Settings
	m.State, m.Booted = machine.Running, &booted
	return m
}

// in returns m in another state; set returns m after its files were edited.
func in(state machine.State, m machine.Machine) machine.Machine { m.State = state; return m }

func set(m machine.Machine, edits ...func(*machine.Spec)) machine.Machine {
	for _, edit := range edits {
		edit(&m.Spec)
	}
	return m
}

// sized returns m with a disk of g GiB.
func sized(g int64, m machine.Machine) machine.Machine { m.DiskSize = g << 30; return m }

func cpus(n int) func(*machine.Spec)       { return func(s *machine.Spec) { s.CPUs = n } }
func disk(g int64) func(*machine.Spec)     { return func(s *machine.Spec) { s.Disk = g << 30 } }
func image(ref string) func(*machine.Spec) { return func(s *machine.Spec) { s.Image = ref } }
func services(names ...string) func(*machine.Spec) {
	return func(s *machine.Spec) { s.Services = names }
}
func owner(o machine.Owner) func(*machine.Spec) { return func(s *machine.Spec) { s.Owner = o } }
func digest(d string) func(*machine.Spec) {
	return func(s *machine.Spec) { s.Digest = "sha256:" + strings.Repeat(d, 64) }
}
func noAgent(s *machine.Spec) { s.NoSSHAgent = true }

// dev1000 is ada under another name.
var dev1000 = machine.User{Name: "dev", UID: 1000, GID: 1000}

func bootedAs(name string, m machine.Machine) machine.Machine {
	m.BootedAs = name
	return m
}

func user(u machine.User) func(*machine.Spec) { return func(s *machine.Spec) { s.User = u } }
func forPlatform(p platform.Platform) func(*machine.Spec) {
	return func(s *machine.Spec) { s.Platform = p }
}

// unreadable returns a broken machine: only its disk usage is known.
func unreadable(id string) machine.Machine {
	return machine.Machine{Spec: machine.Spec{ID: id}, State: machine.Broken, Problem: "config.json is empty", DiskUsed: 3 << 30}
}

func TestDiff(t *testing.T) {
	dev := spec("dev")
	ones, twos := digest("1"), digest("2")
	tests := map[string]struct {
		want   []machine.Spec
		have   []machine.Machine
		action Action
		attrs  string // the differences as a plan shows them
	}{
		"a missing machine is created": {
			[]machine.Spec{dev},
			nil, Create,
			"image debian:12, cpus 2, memory 4G, disk 64G, home_mount rw, services postgresql",
		},
		"an absent machine is created": {
			[]machine.Spec{dev},
			[]machine.Machine{in(machine.Absent, stopped(dev))},
			Create,
			"image debian:12, cpus 2, memory 4G, disk 64G, home_mount rw, services postgresql",
		},
		"equal and running: no change":  {[]machine.Spec{dev}, []machine.Machine{running(dev)}, None, ""},
		"equal and stopped: started":    {[]machine.Spec{dev}, []machine.Machine{stopped(dev)}, Start, ""},
		"equal and booting: waited for": {[]machine.Spec{dev}, []machine.Machine{in(machine.Booting, running(dev))}, Start, ""},
		"equal and unreachable: no change": {
			[]machine.Spec{dev}, []machine.Machine{in(machine.Unreachable, running(dev))}, None, "",
		},
		"other cpus restart an unreachable machine": {
			[]machine.Spec{spec("dev", cpus(4))}, []machine.Machine{in(machine.Unreachable, running(dev))}, Restart, "cpus 2 -> 4",
		},
		"other services update an unreachable machine": {
			[]machine.Spec{spec("dev", services())}, []machine.Machine{in(machine.Unreachable, running(dev))}, Update, "services - postgresql",
		},
		"if booted settings are unknown, the files count": {
			[]machine.Spec{dev}, []machine.Machine{in(machine.Running, stopped(dev))}, None, "",
		},

		"other services update a running machine": {
			[]machine.Spec{spec("dev", services("redis", "postgresql"))},
			[]machine.Machine{running(dev)},
			Update,
			"services + redis",
		},
		"other services update a booting machine": {
			[]machine.Spec{spec("dev", services())},
			[]machine.Machine{in(machine.Booting, running(dev))},
			Update,
			"services - postgresql",
		},
		"other services reconfigure a stopped machine": {
			[]machine.Spec{spec("dev", services("redis"))},
			[]machine.Machine{stopped(dev)},
			Reconfigure,
			"services + redis, - postgresql",
		},
		"another order of services is a difference": {
			[]machine.Spec{spec("dev", services("b", "a"))},
			[]machine.Machine{running(spec("dev", services("a", "b")))},
			Update,
			"services reordered: b, a",
		},
		"services that were written but not applied are retried": {
			[]machine.Spec{dev},
			[]machine.Machine{set(running(spec("dev", services())), services("postgresql"))},
			Update,
			"services + postgresql",
		},

		"another ssh_agent reconfigures a running machine": {
			[]machine.Spec{spec("dev", noAgent)}, []machine.Machine{running(dev)}, Reconfigure, "ssh_agent true -> false",
		},
		"another ssh_agent needs no restart once it is written": {
			[]machine.Spec{spec("dev", noAgent)}, []machine.Machine{set(running(dev), noAgent)}, None, "",
		},
		"other cpus restart a running machine": {
			[]machine.Spec{spec("dev", cpus(4))}, []machine.Machine{running(dev)}, Restart, "cpus 2 -> 4",
		},
		"other cpus reconfigure a stopped machine": {
			[]machine.Spec{spec("dev", cpus(4))}, []machine.Machine{stopped(dev)}, Reconfigure, "cpus 2 -> 4",
		},
		"a setting that was edited to the declared value still needs a restart": {
			[]machine.Spec{spec("dev", cpus(4))}, []machine.Machine{set(running(dev), cpus(4))}, Restart, "cpus 2 -> 4",
		},
		"an edited setting that was not booted with is only written back": {
			[]machine.Spec{dev}, []machine.Machine{set(running(dev), cpus(8))}, Reconfigure, "cpus 8 -> 2",
		},
		"a restart includes other services": {
			[]machine.Spec{spec("dev", cpus(4), services())},
			[]machine.Machine{running(dev)},
			Restart,
			"cpus 2 -> 4; services - postgresql",
		},
		"another kernel restarts": {
			[]machine.Spec{spec("dev", func(s *machine.Spec) { s.Kernel = "/k" })},
			[]machine.Machine{running(dev)},
			Restart,
			"kernel (default) -> /k",
		},
		"a disk grows with a restart": {
			[]machine.Spec{spec("dev", disk(128))}, []machine.Machine{running(dev)}, Restart, "disk 64G -> 128G",
		},
		"a larger disk size that was not applied can be reverted": {
			[]machine.Spec{dev}, []machine.Machine{set(running(dev), disk(128))}, Reconfigure, "disk 128G -> 64G",
		},
		"a larger disk size that was not applied can be reverted on a stopped machine": {
			[]machine.Spec{dev},
			[]machine.Machine{sized(64, set(stopped(dev), disk(128)))},
			Reconfigure,
			"disk 128G -> 64G",
		},
		"a disk with a larger size in the files cannot shrink": {
			[]machine.Spec{spec("dev", disk(32))},
			[]machine.Machine{sized(64, set(stopped(dev), disk(128)))},
			Replace,
			"disk 64G -> 32G  # forces replacement",
		},
		"a disk with a smaller size in the files cannot shrink": {
			[]machine.Spec{spec("dev", disk(32))},
			[]machine.Machine{sized(64, set(stopped(dev), disk(32)))},
			Replace,
			"disk 64G -> 32G  # forces replacement",
		},
		"a disk cannot shrink": {
			[]machine.Spec{spec("dev", disk(32))},
			[]machine.Machine{running(dev)},
			Replace,
			"disk 64G -> 32G  # forces replacement",
		},

		"another image replaces": {
			[]machine.Spec{spec("dev", image("debian:13"), twos)},
			[]machine.Machine{running(dev)},
			Replace,
			"image debian:12 -> debian:13; digest sha256:111111111111 -> sha256:222222222222  # forces replacement",
		},
		"a tag that has moved replaces": {
			[]machine.Spec{spec("dev", twos)},
			[]machine.Machine{stopped(dev)},
			Replace,
			"digest sha256:111111111111 -> sha256:222222222222  # forces replacement",
		},
		"another name of the same image is only recorded": {
			[]machine.Spec{spec("dev", image("debian:bookworm"), ones)},
			[]machine.Machine{running(dev)},
			Reconfigure,
			"image debian:12 -> debian:bookworm",
		},
		"another name of the image does not hide other services": {
			[]machine.Spec{spec("dev", image("debian:bookworm"), services())},
			[]machine.Machine{running(dev)},
			Update,
			"image debian:12 -> debian:bookworm; services - postgresql",
		},
		"another platform replaces": {
			[]machine.Spec{spec("dev", forPlatform(arm64))},
			[]machine.Machine{running(dev)},
			Replace,
			"platform linux/amd64 -> linux/arm64  # forces replacement",
		},
		"other ids of the user replace": {
			[]machine.Spec{spec("dev", user(machine.User{Name: "ada", UID: 1001, GID: 1000}))},
			[]machine.Machine{running(dev)},
			Replace,
			"user_ids 1000:1000 -> 1001:1000  # forces replacement",
		},
		"another name of the user restarts": {
			[]machine.Spec{spec("dev", user(dev1000))},
			[]machine.Machine{running(dev)},
			Restart,
			"user ada -> dev",
		},
		"another name of the user is written to a stopped machine": {
			[]machine.Spec{spec("dev", user(dev1000))},
			[]machine.Machine{stopped(dev)},
			Reconfigure,
			"user ada -> dev",
		},
		"a machine that was booted with another name of its user restarts": {
			[]machine.Spec{spec("dev", user(dev1000))},
			[]machine.Machine{bootedAs("ada", running(spec("dev", user(dev1000))))},
			Restart,
			"user ada -> dev",
		},

		"a machine that left the file is deleted":              {nil, []machine.Machine{running(dev)}, Delete, ""},
		"a broken machine that left the file is deleted":       {nil, []machine.Machine{in(machine.Broken, stopped(dev))}, Delete, ""},
		"a broken machine is repaired":                         {[]machine.Spec{dev}, []machine.Machine{in(machine.Broken, stopped(dev))}, Repair, ""},
		"a machine with an unreadable owner is repaired":       {[]machine.Spec{dev}, []machine.Machine{unreadable("dev")}, Repair, ""},
		"a broken machine of another image is replaced":        {[]machine.Spec{spec("dev", twos)}, []machine.Machine{in(machine.Broken, stopped(dev))}, Replace, "digest sha256:111111111111 -> sha256:222222222222  # forces replacement"},
		"unreadable settings of a broken machine do not count": {[]machine.Spec{dev}, []machine.Machine{in(machine.Broken, set(stopped(dev), cpus(0), disk(0)))}, Repair, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := Diff(situation(tt.want, tt.have))
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Changes) != 1 {
				t.Fatalf("%d changes, want 1: %+v", len(plan.Changes), plan)
			}
			c := plan.Changes[0]
			if c.Action != tt.action {
				t.Errorf("action is %v, want %v", c.Action, tt.action)
			}
			if got := attrsText(c); got != tt.attrs {
				t.Errorf("attributes are\n%s\nwant\n%s", got, tt.attrs)
			}
			if lost := c.DataLost != 0; lost != c.Action.LosesDisk() || lost != plan.Destructive() {
				t.Errorf("%v loses %d bytes, but Destructive() = %v", c.Action, c.DataLost, plan.Destructive())
			}
		})
	}
}

func attrsText(c Change) string {
	if c.Action == Create {
		return c.reasons()[0]
	}
	texts := make([]string, len(c.Attrs))
	for i, a := range c.Attrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, "; ")
}

func TestDiffLeavesMachinesOfOtherOwnersAlone(t *testing.T) {
	others := map[string]machine.Owner{
		"no project":                       {},
		"another project":                  {Project: "other", File: "/other/machines.hcl"},
		"another project of the same name": {Project: "acme", File: "/copy/machines.hcl"},
		"the file under a previous name":   {Project: "acme-old", File: acme.File},
	}
	for name, other := range others {
		t.Run(name, func(t *testing.T) {
			theirs := []machine.Machine{running(spec("dev", owner(other))), in(machine.Broken, stopped(spec("db", owner(other))))}

			plan, err := Diff(situation([]machine.Spec{spec("dev"), spec("db"), spec("web")}, theirs))
			var clash *ClashError
			if !errors.As(err, &clash) || len(plan.Changes) != 0 {
				t.Fatalf("Diff = %+v, %v; want a ClashError and no plan", plan, err)
			}
			if clash.Owner != other || clash.Remedy() == "" {
				t.Errorf("%+v does not name the owner %+v", clash, other)
			}
			for _, id := range []string{`"db"`, `"dev"`, other.Project} {
				if !strings.Contains(err.Error(), id) {
					t.Errorf("the error does not name %s: %v", id, err)
				}
			}

			if other != (machine.Owner{}) {
				half := machine.Machine{Spec: machine.Spec{ID: "dev", Owner: other}, State: machine.Broken}
				if _, err := Diff(situation([]machine.Spec{spec("dev")}, []machine.Machine{half})); !errors.As(err, &clash) {
					t.Errorf("Diff = %v for a broken machine whose owner is known, want a ClashError", err)
				}
			}

			plan, err = Diff(situation(nil, theirs))
			if err != nil || len(plan.Changes) != 0 {
				t.Errorf("Diff = %+v, %v for undeclared machines of another owner, want an empty plan", plan, err)
			}
			if len(destroyAll(t, theirs).Changes)+len(Halt(situation(nil, theirs)).Changes) != 0 {
				t.Error("destroy or halt changes machines of another owner")
			}
		})
	}
}

func TestUndeclaredUnreadableMachineIsLeftAlone(t *testing.T) {
	plan, err := Diff(situation(nil, []machine.Machine{unreadable("dev")}))
	if err != nil || len(plan.Changes) != 0 {
		t.Errorf("Diff = %+v, %v; want an empty plan: the owner is unknown", plan, err)
	}
}

func TestDestroyAndHalt(t *testing.T) {
	have := []machine.Machine{
		running(spec("web")), stopped(spec("dev")), in(machine.Booting, running(spec("db"))),
		in(machine.Broken, stopped(spec("old"))), in(machine.Absent, stopped(spec("gone"))),
	}
	for name, tt := range map[string]struct {
		plan Plan
		want map[string]Action
	}{
		"destroy deletes every existing machine": {destroyAll(t, have), map[string]Action{"db": Delete, "dev": Delete, "old": Delete, "web": Delete}},
		"halt stops running machines":            {Halt(situation(nil, have)), map[string]Action{"db": Stop, "web": Stop}},
	} {
		got := map[string]Action{}
		for _, c := range tt.plan.Changes {
			got[c.ID] = c.Action
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: mismatch (-want +got):\n%s", name, d)
		}
	}
}
