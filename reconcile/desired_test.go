package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/reconcile"
)

// defaults returns the defaults of a host with 8 processors and 16 GiB.
func defaults() reconcile.Defaults {
	return reconcile.Defaults{
		Settings: machine.Settings{CPUs: 4, Memory: 8 << 30, Disk: 64 << 30, HomeMount: machine.HomeReadWrite},
		Platform: amd64,
		User:     machine.User{Name: "ada", UID: 1000, GID: 1000},
		Digest: func(ref string, platform platform.Platform) (string, error) {
			return "sha256:of " + ref + " for " + platform.String(), nil
		},
		Built: func(machine.Build, platform.Platform) (string, string, error) { return "local/build:1", "", nil },
	}
}

func TestDesiredAddsDefaults(t *testing.T) {
	p := &config.Project{Name: "acme", File: "/acme/machines.hcl", Machines: []config.Machine{
		{Name: "bare", Image: "debian:12"},
		{
			Name: "full", Image: "alpine:3", Platform: arm64, CPUs: 1, Memory: 1 << 30, Disk: 2 << 30, Kernel: "/k",
			Virtualization: true, HomeMount: "none", Services: []string{"sshd"},
			Stopped: true, DependsOn: []string{"bare"}, Lifecycle: config.Lifecycle{PreventDestroy: true, KeepImage: true},
		},
	}}
	got, err := reconcile.Desired(p, defaults())
	if err != nil {
		t.Fatal(err)
	}
	d := defaults()
	want := []reconcile.Goal{
		{Spec: machine.Spec{ID: "bare", Image: "debian:12", Digest: "sha256:of debian:12 for linux/amd64", Platform: d.Platform, User: d.User, Owner: acme, Settings: d.Settings}},
		{
			Spec: machine.Spec{
				ID: "full", Image: "alpine:3", Digest: "sha256:of alpine:3 for linux/arm64", Platform: arm64, User: d.User, Owner: acme,
				Settings: machine.Settings{
					CPUs: 1, Memory: 1 << 30, Disk: 2 << 30, Kernel: "/k", Virtualization: true,
					HomeMount: machine.HomeNone, Services: []string{"sshd"},
				},
				PreventDestroy: true,
			},
			Stopped: true, KeepImage: true, After: []string{"bare"},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("specs mismatch (-want +got):\n%s", d)
	}
}

func TestDesiredImageOfABuild(t *testing.T) {
	sources := &config.Build{Context: "/acme/images", Target: "dev", Args: map[string]string{"A": "1"}}
	p := &config.Project{Name: "acme", File: "/acme/machines.hcl", Machines: []config.Machine{
		{Name: "a", Build: sources}, {Name: "b", Build: sources},
	}}
	existing := func(reference, digest string) machine.Machine {
		m := machine.Machine{Spec: spec("a"), State: machine.Stopped}
		m.Image, m.Digest = reference, digest
		return m
	}
	for name, tt := range map[string]struct {
		digest string // of the image in the store
		have   []machine.Machine
		want   string // digest of a
		plan   reconcile.Action
	}{
		"a new machine needs the build":                 {"", nil, "", reconcile.Create},
		"an image that is already built is used":        {"sha256:1", nil, "sha256:1", reconcile.Create},
		"changed sources replace the machine":           {"", []machine.Machine{existing("local/build:0", "sha256:0")}, "", reconcile.Replace},
		"a machine whose image was removed is kept":     {"", []machine.Machine{existing("local/build:1", "sha256:0")}, "sha256:0", reconcile.Reconfigure},
		"the same sources built again keep the machine": {"sha256:1", []machine.Machine{existing("local/build:1", "sha256:0")}, "sha256:0", reconcile.Reconfigure},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			d := defaults()
			d.Found = tt.have
			d.Built = func(b machine.Build, _ platform.Platform) (string, string, error) {
				asked++
				if diff := cmp.Diff(machine.Build(*sources), b); diff != "" {
					t.Errorf("build mismatch (-want +got):\n%s", diff)
				}
				return "local/build:1", tt.digest, nil
			}
			specs, err := reconcile.Desired(p, d)
			if err != nil {
				t.Fatal(err)
			}
			if got := specs[0]; got.Image != "local/build:1" || got.Digest != tt.want || got.Build == nil {
				t.Errorf("a has the image %s %q, want %q", got.Image, got.Digest, tt.want)
			}
			if asked != 1 {
				t.Errorf("the sources of two machines were resolved %d times, want once", asked)
			}
			plan, err := reconcile.Diff(reconcile.Situation{Owner: acme, Want: specs[:1], Have: d.Found})
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.Changes[0].Action; got != tt.plan {
				t.Errorf("the plan is to %s, want %s:\n%s", got, tt.plan, reconcile.Text(plan))
			}
		})
	}
}

func TestOmittedDiskKeepsItsSize(t *testing.T) {
	p := &config.Project{Name: "acme", File: "/acme/machines.hcl", Machines: []config.Machine{{Name: "dev", Image: "debian:12"}}}
	large := spec("dev")
	large.Disk = 128 << 30
	grown := large.Settings
	small := spec("dev")
	small.Disk = 32 << 30
	for name, tt := range map[string]struct {
		have machine.Machine
		want int64
	}{
		"a larger disk stays large":                        {machine.Machine{Spec: large, State: machine.Stopped}, 128 << 30},
		"a smaller disk stays small":                       {machine.Machine{Spec: small, State: machine.Stopped}, 32 << 30},
		"the booted size counts":                           {machine.Machine{Spec: small, State: machine.Running, Booted: &grown}, 128 << 30},
		"the size of an unreadable machine is the default": {machine.Machine{Spec: machine.Spec{ID: "dev"}, State: machine.Broken}, 64 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			d := defaults()
			d.Found = []machine.Machine{{Spec: spec("another")}, tt.have}
			got, err := reconcile.Desired(p, d)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Disk != tt.want {
				t.Errorf("disk is %d, want %d", got[0].Disk, tt.want)
			}
		})
	}
}

func TestDesiredReportsEveryUnresolvedImage(t *testing.T) {
	at := func(line int) config.Position { return config.Position{File: "machines.hcl", Line: line} }
	p := &config.Project{Machines: []config.Machine{
		{Name: "a", Image: "gone", Pos: at(1)},
		{Name: "b", Image: "debian:12", Pos: at(5)},
		{Name: "c", Image: "gone", Pos: at(9)},
	}}
	missing := errors.New("not found in the registry")
	asked := map[string]int{}
	d := defaults()
	d.Digest = func(ref string, _ platform.Platform) (string, error) {
		asked[ref]++
		if ref == "gone" {
			return "", missing
		}
		return "sha256:1", nil
	}
	specs, err := reconcile.Desired(p, d)
	if specs != nil || !errors.Is(err, missing) {
		t.Fatalf("Desired = %v, %v", specs, err)
	}
	for _, text := range []string{`machines.hcl:1: image of machine "a"`, `machines.hcl:9: image of machine "c"`} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error lacks %q:\n%v", text, err)
		}
	}
	if asked["gone"] != 1 {
		t.Errorf("a reference was resolved %d times, want once", asked["gone"])
	}
}

func TestMovedMachineKeepsOmittedSettings(t *testing.T) {
	p := &config.Project{
		Name: "acme", File: "/acme/machines.hcl",
		Machines: []config.Machine{{Name: "box", Build: &config.Build{Context: "/acme"}}},
		Moved:    []config.Move{{From: "dev", To: "box"}},
	}
	dev := machine.Machine{Spec: spec("dev"), State: machine.Stopped}
	dev.Disk, dev.Image, dev.Digest = 128<<30, "local/build:1", "sha256:0"
	theirs := dev
	theirs.Owner = machine.Owner{}
	before := dev
	before.Owner.File, before.OwnerGone = "/before/machines.hcl", true
	for name, tt := range map[string]struct {
		have   machine.Machine
		disk   int64
		digest string
	}{
		"disk size and digest are kept":                          {dev, 128 << 30, "sha256:0"},
		"also after the directory was moved":                     {before, 128 << 30, "sha256:0"},
		"another owner's machine of the old name does not count": {theirs, 64 << 30, ""},
	} {
		d := defaults()
		d.Found = []machine.Machine{tt.have}
		got, err := reconcile.Desired(p, d)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Disk != tt.disk || got[0].Digest != tt.digest {
			t.Errorf("%s: disk %d and digest %q, want %d and %q", name, got[0].Disk, got[0].Digest, tt.disk, tt.digest)
		}
	}
}

func TestKeptImageNeedNotResolve(t *testing.T) {
	p := &config.Project{Name: "acme", File: "/acme/machines.hcl", Machines: []config.Machine{
		{Name: "dev", Image: "gone:1", Lifecycle: config.Lifecycle{KeepImage: true}},
	}}
	d := defaults()
	d.Digest = func(string, platform.Platform) (string, error) { return "", errors.New("the registry is gone") }
	if _, err := reconcile.Desired(p, d); err == nil {
		t.Error("a new machine got an image that cannot be resolved")
	}
	have := machine.Machine{Spec: spec("dev"), State: machine.Running}
	have.Image, have.Settings = "gone:1", d.Settings
	d.Found = []machine.Machine{have}
	want, err := reconcile.Desired(p, d)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		replace []string
		plan    string
	}{
		"no change":     {nil, "No changes"},
		"a replacement": {[]string{"dev"}, "(known after pull)"},
	} {
		plan, err := reconcile.Diff(reconcile.Situation{Owner: acme, Want: want, Have: d.Found, Replace: tt.replace})
		if err != nil {
			t.Fatal(err)
		}
		if text := reconcile.Text(plan); !strings.Contains(text, tt.plan) {
			t.Errorf("%s: the plan lacks %q:\n%s", name, tt.plan, text)
		}
	}
}
