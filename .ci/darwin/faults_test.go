// Package darwin tests that the checks of the macOS part find faults.
//
// The macOS part is developed without a Mac, so only these checks keep a mistake from a
// release. A check that silently checks nothing would pass too. So each check gets source
// with one fault at a time, and must name the file.
package darwin

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	driver  = "provider/hypervisor/vz/driver_darwin.go"
	devices = "provider/hypervisor/vz/devices_darwin.go"
	chosen  = "provider/local/driver_darwin.go"
	logout  = "provider/host/logout_darwin_test.go"
)

// fault is one mistake in one file.
type fault struct {
	file     string
	old, new string // if old is empty, new is appended
	words    string // part of the check's output
	place    string // the check's name of the file; empty: the file's name
}

// seed returns the text of the file with the fault in it.
func (f fault) seed(t *testing.T, root string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, f.file))
	if errors.Is(err, os.ErrNotExist) && f.old == "" {
		return []byte(f.new) // a file of its own
	}
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	if f.old == "" {
		return []byte(text + "\n" + f.new + "\n")
	}
	if strings.Count(text, f.old) != 1 {
		t.Fatalf("%s does not contain %q exactly once: adapt the fault to the code", f.file, f.old)
	}
	return []byte(strings.Replace(text, f.old, f.new, 1))
}

// overlay writes a file for go's -overlay that replaces the file with the faulty one.
func (f fault) overlay(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	faulty := filepath.Join(dir, filepath.Base(f.file))
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, f.file): faulty}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := errors.Join(
		os.WriteFile(faulty, f.seed(t, root), 0o600),
		os.WriteFile(overlay, text, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// found fails the test unless the check failed and named the fault.
func (f fault) found(t *testing.T, check *exec.Cmd) {
	t.Helper()
	out, err := check.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the check ended with %v, want a failure:\n%s", err, out)
	}
	for _, want := range []string{cmp.Or(f.place, filepath.Base(f.file)), f.words} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the check's output lacks %q:\n%s", want, out)
		}
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// program builds one of the programs in the subdirectories.
func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", path, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// stubbed returns an environment in which the go command builds root for macOS, with a stub
// of vz.
func stubbed(t *testing.T, root string) []string {
	t.Helper()
	dir := t.TempDir()
	stub := exec.Command(program(t, "stub"), dir)
	stub.Dir = root
	if out, err := stub.CombinedOutput(); err != nil {
		t.Fatalf("stub: %v\n%s", err, out)
	}
	return append(os.Environ(), "GOWORK="+filepath.Join(dir, "go.work"), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
}

func TestFaultsOfTypesAreFound(t *testing.T) {
	root, typecheck := moduleRoot(t), program(t, "typecheck")
	const arm64, amd64 = "arm64", "amd64"
	tests := map[string]struct {
		fault
		arch string
	}{
		"a number where vz needs a file": {
			fault: fault{file: devices, old: "(b.serial.input, b.serial.output)", new: "(b.serial.input, 1)", words: "cannot use 1"},
			arch:  arm64,
		},
		"a function that vz does not have": {
			fault: fault{file: devices, old: "NewVirtioEntropyDeviceConfiguration", new: "NewVirtioRandomDeviceConfiguration", words: "undefined: vz.NewVirtioRandomDeviceConfiguration"},
			arch:  arm64,
		},
		"an unused variable": {
			fault: fault{file: devices, new: "func fault() { forgotten := 1 }", words: "declared and not used: forgotten"},
			arch:  arm64,
		},
		"a method that the driver lacks": {
			fault: fault{file: driver, old: ") NetworkSettings()", new: ") Settings()", words: "missing method NetworkSettings"},
			arch:  arm64,
		},
		"a system call of Linux": {
			fault: fault{file: driver, new: "func fault() error { return unix.Sysinfo(nil) }", words: "undefined: unix.Sysinfo"},
			arch:  arm64,
		},
		"a name for Apple silicon only, in a file for both architectures": {
			fault: fault{file: devices, new: "var fault = vz.LinuxRosettaAvailabilityInstalled", words: "undefined: vz.LinuxRosettaAvailabilityInstalled"},
			arch:  amd64,
		},
		"an undefined name in a test": {
			fault: fault{file: logout, new: "var fault = errLogin", words: "undefined: errLogin"},
			arch:  arm64,
		},
		"an option that the driver does not have": {
			fault: fault{file: chosen, old: "vz.Options{", new: `vz.Options{Accel: "tcg", `, words: "unknown field Accel"},
			arch:  arm64,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check := exec.Command(typecheck, "-arch", tt.arch, "-overlay", tt.overlay(t, root), "./"+filepath.Dir(tt.file))
			check.Dir = root
			tt.found(t, check)
		})
	}
}

func TestFaultsForVetAndCompilerAreFound(t *testing.T) {
	root := moduleRoot(t)
	env := stubbed(t, root)
	tests := map[string]struct {
		fault
		check []string
	}{
		"a wrong verb, by vet": {
			fault: fault{file: driver, new: `func fault() error { return fmt.Errorf("%d", "text") }`, words: "wrong type string"},
			check: []string{"vet"},
		},
		"a wrong verb in a test, by vet": {
			fault: fault{file: logout, new: `func fault(t *testing.T) { t.Errorf("%d", "text") }`, words: "wrong type string"},
			check: []string{"vet"},
		},
		"a function without a body, by the compiler": {
			fault: fault{file: driver, new: "func fault()", words: "missing function body"},
			check: []string{"build"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check := exec.Command("go", append(tt.check, "-overlay="+tt.overlay(t, root), "./"+filepath.Dir(tt.file))...)
			check.Dir, check.Env = root, env
			tt.found(t, check)
		})
	}
}

// Building only a package does not link it, so the test builds the program.
func TestFaultsForTheLinkerAreFound(t *testing.T) {
	root := moduleRoot(t)
	f := fault{
		file:  "provider/hypervisor/vz/fault_darwin.go",
		new:   "package vz\n\nimport _ \"unsafe\"\n\n//go:linkname fault example.com/gone.away\nfunc fault()\n\nfunc init() { fault() }\n",
		words: "example.com/gone.away not defined",
		place: "hypervisor/vz.init",
	}
	env, overlay := stubbed(t, root), "-overlay="+f.overlay(t, root)
	compiled := exec.Command("go", "build", overlay, "./"+filepath.Dir(f.file))
	compiled.Dir, compiled.Env = root, env
	if out, err := compiled.CombinedOutput(); err != nil {
		t.Fatalf("the compiler found the fault already: %v\n%s", err, out)
	}
	check := exec.Command("go", "build", "-o", os.DevNull, overlay, "./cmd/stead")
	check.Dir, check.Env = root, env
	f.found(t, check)
}

// staticcheck does not support overlays, so it gets a copy of the source.
func TestFaultsForStaticcheckAreFound(t *testing.T) {
	root := moduleRoot(t)
	lint := filepath.Join(root, ".cache/golangci-lint")
	if _, err := os.Stat(lint); err != nil {
		t.Skipf("make lint builds the linter first: %v", err)
	}
	f := fault{file: driver, new: "var _ = func(n int) bool { return n == n }", words: "SA4000"}
	world := t.TempDir()
	if err := os.CopyFS(filepath.Join(world, "provider"), os.DirFS(filepath.Join(root, "provider"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", ".golangci.yml"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(world, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(world, f.file), f.seed(t, root), 0o600); err != nil {
		t.Fatal(err)
	}
	check := exec.Command(lint, "run", "--allow-parallel-runners", "./"+filepath.Dir(f.file))
	check.Dir, check.Env = world, stubbed(t, world)
	f.found(t, check)
}
