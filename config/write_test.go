package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/stead-vm/stead/provider/printable"
)

var writtenMachines = []Declaration{
	{Machine: Machine{Name: "bare", Image: "debian:12"}},
	{
		Comments: []string{"made by hand\non two lines", "} tricks ${x} \x1b[31m"},
		Machine: Machine{
			Name: "full", Platform: arm64, CPUs: 2, Memory: 1536 << 20, Disk: 2 << 40, Kernel: "/boot/vmlinuz ${x}",
			Virtualization: true, User: "dev", HomeMount: "none", NoSSHAgent: true, Services: []string{"b", "a"}, Stopped: true, DependsOn: []string{"bare"},
			Build:     &Build{Context: "/src", Dockerfile: "/src/Dockerfile", Target: "dev", Args: map[string]string{"A": "1", "B": "\"${b}\"\n%{if}"}},
			Lifecycle: Lifecycle{PreventDestroy: true, KeepImage: true},
		},
	},
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, writtenMachines); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/written.golden"
	if *update {
		write(t, golden, b.String())
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("mismatch (-want +got):\n%s", d)
	}
}

func TestEveryAttributeIsWritten(t *testing.T) {
	var written []string
	for _, a := range machineValues {
		written = append(written, a.name)
	}
	if d := cmp.Diff(names(machineAttributes), written); d != "" {
		t.Errorf("Write does not write every attribute (-attributes +written):\n%s", d)
	}
	var b bytes.Buffer
	if err := Write(&b, writtenMachines); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{names(buildAttributes), names(lifecycleAttributes), machineBlocks} {
		for _, name := range list {
			if !strings.Contains(b.String(), "  "+name+" ") {
				t.Errorf("Write omits %s:\n%s", name, b.String())
			}
		}
	}
}

func TestLoadReadsWhatWriteWrites(t *testing.T) {
	text := rapid.SampledFrom([]string{"x", "a b", `"`, `\`, "${a}", "%{if}", "$${", "#", "é", "\n", "\t", "/*", "<<E"})
	visible := text.Filter(func(s string) bool { return strings.IndexFunc(s, printable.Hidden) < 0 })
	rapid.Check(t, func(t *rapid.T) {
		var machines []Declaration
		for i := range rapid.IntRange(0, 3).Draw(t, "machines") {
			m := Machine{
				Name: fmt.Sprintf("m%d", i), CPUs: rapid.IntRange(0, 8).Draw(t, "cpus"),
				Memory:         rapid.SampledFrom([]int64{0, 1 << 30, 1537 << 20, 3 << 40}).Draw(t, "memory"),
				Disk:           rapid.SampledFrom([]int64{0, 1 << 30, 1025 << 20, 1 << 50}).Draw(t, "disk"),
				Kernel:         rapid.SampledFrom([]string{"", "/k", "/with space/${k}"}).Draw(t, "kernel"),
				Virtualization: rapid.Bool().Draw(t, "virtualization"),
				HomeMount:      rapid.SampledFrom([]string{"", "rw", "ro", "none"}).Draw(t, "home"),
				NoSSHAgent:     rapid.Bool().Draw(t, "agent"),
				Services:       rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", `b\x2d`, "c@d"}), 0, 3, rapid.ID).Draw(t, "services"),
				Stopped:        rapid.Bool().Draw(t, "stopped"),
				Lifecycle:      Lifecycle{PreventDestroy: rapid.Bool().Draw(t, "prevent"), KeepImage: rapid.Bool().Draw(t, "keep")},
			}
			if i > 0 && rapid.Bool().Draw(t, "after") {
				m.DependsOn = []string{"m0"}
			}
			if rapid.Bool().Draw(t, "built") {
				m.Build = &Build{Context: "/c" + visible.Draw(t, "context"), Args: map[string]string{"A": text.Draw(t, "arg")}}
				if rapid.Bool().Draw(t, "target") {
					m.Build.Target, m.Build.Dockerfile = visible.Draw(t, "stage"), "/d"
				}
			} else {
				m.Image = rapid.SampledFrom([]string{"debian:12", "oci:/srv/a b:x", "docker-archive:/${x}.tar"}).Draw(t, "image")
			}
			machines = append(machines, Declaration{Machine: m, Comments: rapid.SliceOfN(text, 0, 2).Draw(t, "comments")})
		}
		var b bytes.Buffer
		if err := Write(&b, machines); err != nil {
			t.Fatal(err)
		}
		p, err := parse(b.Bytes(), place{shown: FileName, dir: "/elsewhere", base: FileName})
		if err != nil {
			t.Fatalf("%v in\n%s", err, &b)
		}
		var want []Machine
		for _, m := range machines {
			want = append(want, m.Machine)
		}
		if d := cmp.Diff(want, p.Machines, cmpopts.IgnoreFields(Machine{}, "Pos"), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("machines mismatch (-written +read):\n%s\n%s", d, &b)
		}
	})
}
