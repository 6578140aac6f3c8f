package provider

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/guest/embedded"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

func wantFinding(t *testing.T, f hypervisor.Finding, v hypervisor.Verdict, detail, remedy string) {
	t.Helper()
	if f.Verdict != v || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Remedy, remedy) || (f.Remedy == "") != (remedy == "") {
		t.Errorf("found %+v, want it to be %v and to say %q and %q", f, v, detail, remedy)
	}
}

func TestExamineTellsWhetherTheStateFolderCanBeUsed(t *testing.T) {
	dir := t.TempDir()
	f := examineState(filepath.Join(dir, "new"))
	if f.Verdict == hypervisor.Bad || !strings.Contains(f.Detail, "free, disks are c") {
		t.Errorf("found %+v", f)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examineState(file), hypervisor.Bad, file, "STEAD_HOME")
	found := Examine(t.Context(), Options{Home: filepath.Join(file, "below"), Exe: "/nonexistent"})
	if len(found) != 4 || found[1].Verdict != hypervisor.Bad {
		t.Errorf("without it this is found: %+v", found)
	}
}

func TestExamineTellsWhichAgentsAreBuiltIn(t *testing.T) {
	tests := map[string]struct {
		archs          []string
		missing        string
		verdict        hypervisor.Verdict
		detail, remedy string
	}{
		"all":              {[]string{"amd64", "arm64"}, "", hypervisor.Good, "for amd64 and arm64", ""},
		"not of guests":    {[]string{"amd64", "arm64"}, "arm64", hypervisor.Poor, "for amd64, though", "make build"},
		"not of this host": {[]string{"amd64", "arm64"}, "amd64", hypervisor.Bad, "without", "make build"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &Provider{agent: func(arch string) (agent, error) {
				if arch == tt.missing {
					return nil, &embedded.MissingError{Arch: arch}
				}
				return idleAgent{}, nil
			}}
			wantFinding(t, p.examineAgents(tt.archs), tt.verdict, tt.detail, tt.remedy)
		})
	}
}

// oneKernel is a source that has this, or not.
type oneKernel struct {
	kernelSource
	kernel kernel.Kernel
	err    error
}

func (o oneKernel) find(string) (kernel.Kernel, error) { return o.kernel, o.err }

func TestExamineTellsWhichKernelMachinesBoot(t *testing.T) {
	tests := map[string]struct {
		source         oneKernel
		verdict        hypervisor.Verdict
		detail, remedy string
	}{
		"the host's":          {oneKernel{kernel: kernel.Kernel{Path: "/boot/vmlinuz", Release: "6.1.0"}}, hypervisor.Good, "6.1.0, /boot/vmlinuz", ""},
		"one that tells less": {oneKernel{kernel: kernel.Kernel{Path: "/boot/vmlinuz"}}, hypervisor.Good, "/boot/vmlinuz", ""},
		"one to be fetched":   {oneKernel{err: &kernel.NotFetchedError{Archive: kernel.Kata()}}, hypervisor.Good, "will be fetched for the first machine, from https://", ""},
		"none":                {oneKernel{err: &kernel.NoKernelError{Arch: runtime.GOARCH}}, hypervisor.Bad, "no Linux kernel", "kernel = "},
		"none on macOS":       {oneKernel{err: &kernel.NoDefaultError{Arch: "amd64"}}, hypervisor.Poor, "macOS", "bzImage"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &Provider{kernels: tt.source}
			wantFinding(t, p.examineKernel(runtime.GOARCH), tt.verdict, tt.detail, tt.remedy)
		})
	}
}

func TestExamineTellsWhatIsNotThere(t *testing.T) {
	t.Setenv("HOME", filepath.Join(t.TempDir(), "gone"))
	wantFinding(t, examineHome(), hypervisor.Poor, "gone", "home_mount")
	t.Setenv("PATH", t.TempDir())
	wantFinding(t, examineBuilder(t.Context(), ""), hypervisor.Poor, "no builder", "only machines with a build block")
	found := Examine(t.Context(), Options{Home: t.TempDir(), Exe: "/nonexistent", Accel: "steam"})
	bad := 0
	for _, f := range found {
		if f.Verdict == hypervisor.Bad {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("of an unknown accelerator this is found: %+v", found)
	}
}

func TestAFullStateFolderIsToldAsSuch(t *testing.T) {
	f := hypervisor.Problem("state folder", hypervisor.Bad, &image.SpaceError{Dir: "/state", Err: errors.New("full")})
	wantFinding(t, f, hypervisor.Bad, "no space left in /state", "stead df")
}
