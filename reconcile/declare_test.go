package reconcile_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/reconcile"
)

// fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Fatal(args ...any)
	Helper()
}

// writeProject writes the declarations of machines to a project file, and loads it. It also
// returns the file's text.
func writeProject(t fataler, dir string, d reconcile.Defaults, machines ...machine.Machine) (*config.Project, string) {
	t.Helper()
	var list []config.Declaration
	for _, m := range machines {
		list = append(list, reconcile.Declare(m, d))
	}
	var text bytes.Buffer
	text.WriteString("project = \"acme\"\n\n")
	if err := config.Write(&text, list); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, config.FileName)
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := config.Load(file)
	if err != nil {
		t.Fatal(err, text.String())
	}
	return p, text.String()
}

func TestDeclaredMachinesNeedNoChangeOnceAdopted(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		d := defaults()
		known := rapid.Bool().Draw(t, "image resolves")
		d.Digest = func(string, platform.Platform) (string, error) {
			if !known {
				return "", errors.New("not found")
			}
			return "sha256:1", nil
		}
		var machines []machine.Machine
		for _, id := range ids[:rapid.IntRange(1, len(ids)).Draw(t, "machines")] {
			m := drawMachine(t, id, machine.Owner{})
			if m.State == machine.Broken {
				m.State = machine.Stopped
			}
			if m.Digest == "" {
				m.Spec = drawSpec(t, id, machine.Owner{})
			}
			m.User.UID, m.User.GID = d.User.UID, d.User.GID // the name may be another one
			m.PreventDestroy = rapid.Bool().Draw(t, "prevent destroy")
			m.Booted, m.BootedAs = nil, ""
			if m.State != machine.Stopped {
				m.State, m.Booted = machine.Running, &m.Settings
			}
			machines = append(machines, m)
		}
		p, text := writeProject(t, dir, d, machines...)
		for i := range machines {
			machines[i].Owner = reconcile.OwnerOf(p)
		}
		d.Found = machines
		want, err := reconcile.Desired(p, d)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := reconcile.Diff(reconcile.Situation{Owner: reconcile.OwnerOf(p), Want: want, Have: machines})
		if err != nil {
			t.Fatal(err)
		}
		if !plan.Empty() {
			t.Errorf("%s\nplans:\n%s", text, reconcile.Text(plan))
		}
	})
}

func TestDeclareOmitsDefaults(t *testing.T) {
	d := defaults()
	m := machine.Machine{Spec: spec("dev"), State: machine.Running}
	m.Digest, m.Settings = "sha256:of debian:12 for linux/amd64", d.Settings
	for name, tt := range map[string]struct {
		edit func(m *machine.Machine)
		has  []string
		not  []string
	}{
		"defaults are omitted": {
			func(*machine.Machine) {},
			[]string{`image = "debian:12"`},
			[]string{"cpus", "memory", "disk", "kernel", "virtualization", "home_mount", "services", "state", "lifecycle"},
		},
		"a stopped machine stays stopped": {func(m *machine.Machine) { m.State = machine.Stopped }, []string{`state = "stopped"`}, nil},
		"a tag that now means another image": {
			func(m *machine.Machine) { m.Digest = "sha256:0" }, []string{`on_image_change = "keep"`}, nil,
		},
		"a size that a file cannot express": {
			func(m *machine.Machine) { m.Disk = 512 << 20 }, []string{"# Its disk is 512M"}, []string{"disk ="},
		},
		"another user": {
			func(m *machine.Machine) { m.User.UID = 7 }, []string{"# Its user is ada (7:1000), but you are ada (1000:1000): applying this file replaces the machine."}, nil,
		},
		"another name of the user": {func(m *machine.Machine) { m.User.Name = "dev" }, []string{`= "dev"`}, []string{"# Its user"}},
		"another platform":         {func(m *machine.Machine) { m.Platform = arm64 }, []string{`platform = "linux/arm64"`}, nil},
		"the owner":                {func(*machine.Machine) {}, []string{"# Belongs to project acme (/acme/machines.hcl)."}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			edited := m
			tt.edit(&edited)
			_, text := writeProject(t, t.TempDir(), d, edited)
			for _, want := range tt.has {
				if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
			for _, no := range tt.not {
				if strings.Contains(text, "  "+no) {
					t.Errorf("%q is in\n%s", no, text)
				}
			}
		})
	}
}
