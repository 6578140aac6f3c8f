package local

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/boot"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/space"

	"github.com/stead-vm/stead/provider/guest/embedded"
	"github.com/stead-vm/stead/provider/kernel"
)

func wantFinding(t *testing.T, f doctor.Finding, v doctor.Verdict, detail, remedy string) {
	t.Helper()
	if f.Verdict != v || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Remedy, remedy) || (f.Remedy == "") != (remedy == "") {
		t.Errorf("finding %+v, want verdict %v, detail %q and remedy %q", f, v, detail, remedy)
	}
}

func TestExamineState(t *testing.T) {
	dir := t.TempDir()
	f := examineState(filepath.Join(dir, "new"))
	if f.Verdict == doctor.Bad || !strings.Contains(f.Detail, "free, disks are c") {
		t.Errorf("found %+v", f)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, examineState(file), doctor.Bad, file, "STEAD_HOME")
	found := Examine(t.Context(), Options{Home: filepath.Join(file, "below"), Exe: "/nonexistent"})
	if len(found) != 5 || found[1].Verdict != doctor.Bad {
		t.Errorf("without a state directory: %+v", found)
	}
}

func TestExamineAgents(t *testing.T) {
	tests := map[string]struct {
		archs          []string
		missing        string
		verdict        doctor.Verdict
		detail, remedy string
	}{
		"all":             {[]string{"amd64", "arm64"}, "", doctor.Good, "for amd64 and arm64", ""},
		"foreign missing": {[]string{"amd64", "arm64"}, "arm64", doctor.Poor, "for amd64, missing for arm64", "make build"},
		"host's missing":  {[]string{"amd64", "arm64"}, "amd64", doctor.Bad, "without", "make build"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &Provider{Loader: &boot.Loader{Agent: func(arch string) (boot.Agent, error) {
				if arch == tt.missing {
					return nil, &embedded.MissingError{Arch: arch}
				}
				return idleAgent{}, nil
			}}}
			wantFinding(t, p.examineAgents(tt.archs), tt.verdict, tt.detail, tt.remedy)
		})
	}
}

// oneKernel is a source with one kernel, or an error.
type oneKernel struct {
	kernel.Defaults
	kernel kernel.Kernel
	err    error
}

func (o oneKernel) Find(string) (kernel.Kernel, error) { return o.kernel, o.err }

func TestExamineKernel(t *testing.T) {
	tests := map[string]struct {
		source         oneKernel
		verdict        doctor.Verdict
		detail, remedy string
	}{
		"the host's":         {oneKernel{kernel: kernel.Kernel{Path: "/boot/vmlinuz", Release: "6.1.0"}}, doctor.Good, "6.1.0, /boot/vmlinuz", ""},
		"unknown release":    {oneKernel{kernel: kernel.Kernel{Path: "/boot/vmlinuz"}}, doctor.Good, "/boot/vmlinuz", ""},
		"not downloaded yet": {oneKernel{err: &kernel.NotFetchedError{Archive: kernel.Kata()}}, doctor.Good, "downloaded for the first machine, from https://", ""},
		"none":               {oneKernel{err: &kernel.NoKernelError{Arch: runtime.GOARCH}}, doctor.Bad, "no Linux kernel", "kernel = "},
		"none on macOS":      {oneKernel{err: &kernel.NoDefaultError{Arch: "amd64"}}, doctor.Poor, "macOS", "bzImage"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &Provider{Loader: &boot.Loader{Kernels: tt.source}}
			wantFinding(t, p.examineKernel(runtime.GOARCH), tt.verdict, tt.detail, tt.remedy)
		})
	}
}

func TestExamineMissingHomeAndBuilder(t *testing.T) {
	t.Setenv("HOME", filepath.Join(t.TempDir(), "gone"))
	wantFinding(t, examineHome(), doctor.Poor, "gone", "home_mount")
	t.Setenv("PATH", t.TempDir())
	wantFinding(t, examineBuilder(t.Context(), ""), doctor.Poor, "no builder", "only machines with a build block need it")
	found := Examine(t.Context(), Options{Home: t.TempDir(), Exe: "/nonexistent", Accel: "steam"})
	bad := 0
	for _, f := range found {
		if f.Verdict == doctor.Bad {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("with an unknown accelerator: %+v", found)
	}
}

func TestProblemOfAFullStateDirectory(t *testing.T) {
	f := doctor.Problem("state directory", doctor.Bad, &space.FullError{Dir: "/state", Err: errors.New("full")})
	wantFinding(t, f, doctor.Bad, "no space left in /state", "stead df")
}

func TestExamineUser(t *testing.T) {
	wantFinding(t, examineUser(machine.User{Name: "ada", UID: 1000, GID: 100}), doctor.Good, "ada (user id 1000, group id 100)", "")
	wantFinding(t, examineUser(machine.User{UID: 4242, GID: 4242}), doctor.Poor, "your user id 4242 has no account", "set user = ")
}
