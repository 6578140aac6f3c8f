package provider

import (
	"archive/tar"
	"context"
	"errors"
	"log/slog"
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

// idleDriver runs nothing and refuses nothing.
type idleDriver struct{ refuse error }

func (d idleDriver) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	return hypervisor.Capabilities{Archs: []string{runtime.GOARCH}}, nil
}
func (d idleDriver) Validate(context.Context, hypervisor.Config) error { return d.refuse }
func (d idleDriver) NetworkSettings() hypervisor.NetworkSettings       { return hypervisor.NetworkSettings{} }
func (d idleDriver) Examine(context.Context) []hypervisor.Finding      { return nil }

func (d idleDriver) Start(context.Context, hypervisor.Config) (hypervisor.VM, error) {
	return nil, hypervisor.ErrUnsupported
}

// newProvider has an empty state folder and the image "local/tiny:1" and "local/tiny:2".
func newProvider(t *testing.T) *Provider {
	t.Helper()
	if _, err := kernel.Host(runtime.GOARCH); err != nil {
		t.Skipf("machines need a kernel: %v", err)
	}
	t.Setenv("HOME", t.TempDir())
	o := Options{Home: t.TempDir(), Exe: "/nonexistent", Version: "test", Log: slog.New(slog.DiscardHandler)}
	if err := os.MkdirAll(filepath.Join(o.Home, "machines"), 0o700); err != nil {
		t.Fatal(err)
	}
	images, err := openImages(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1", "2"} {
		if _, err := images.Import(t.Context(), "local/tiny:"+tag, tinyRoot(t, tag), nil); err != nil {
			t.Fatal(err)
		}
	}
	p := &Provider{opts: o, log: o.Log, images: images, driver: idleDriver{}, agent: func(string) (agent, error) { return embedded.Agent("agent"), nil }}
	if p.kernels, err = p.openKernels(); err != nil {
		t.Fatal(err)
	}
	return p
}

// tinyRoot is a tarball of a root file system with one file.
func tinyRoot(t *testing.T, content string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "root.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for _, dir := range []string{"etc/", "bin/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/release", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func tiny(t *testing.T, tag string) Spec {
	t.Helper()
	user, err := HostUser()
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{
		ID: "dev", Image: "local/tiny:" + tag, Platform: image.HostPlatform().String(), User: user,
		Owner: Owner{Project: "p", File: "/p/machines.hcl"}, Settings: DefaultSettings(),
	}
	s.Disk = 64 * mib
	return s
}

// files are the names in machines/, locks left out.
func files(t *testing.T, p *Provider) string {
	t.Helper()
	entries, err := os.ReadDir(p.machinesDir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

func TestCreateMakesAWholeMachineThatIsObserved(t *testing.T) {
	p := newProvider(t)
	want := tiny(t, "1")
	if err := p.Create(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	m, err := p.Machine(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	if m.State != Stopped || m.Owner != want.Owner || m.User != want.User || m.Image != want.Image || m.Digest == "" || !m.Default {
		t.Errorf("observed %+v", m)
	}
	var exists *ExistsError
	if err := p.Create(t.Context(), want, nil); !errors.As(err, &exists) {
		t.Errorf("creating it again gave %v", err)
	}
	want.Digest = m.Digest
	if err := p.Create(t.Context(), want, nil); err != nil {
		t.Errorf("creating what the same project has made of the same image gave %v", err)
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	tests := map[string]func(*Provider, *Spec){
		"the image is not there":    func(_ *Provider, s *Spec) { s.Image = "local/none:1" },
		"another platform":          func(_ *Provider, s *Spec) { s.Platform = "linux/riscv64" },
		"the disk is too small":     func(_ *Provider, s *Spec) { s.Disk = mib },
		"the hypervisor refuses":    func(p *Provider, _ *Spec) { p.driver = idleDriver{refuse: errors.New("too many processors")} },
		"no virtualization to nest": func(_ *Provider, s *Spec) { s.Virtualization = true },
		"the name is none":          func(_ *Provider, s *Spec) { s.ID = "../x" },
		"the planned image is gone": func(_ *Provider, s *Spec) { s.Digest = "sha256:" + strings.Repeat("0", 64) },
		"a program without its agent": func(p *Provider, _ *Spec) {
			p.agent = func(arch string) (agent, error) { return nil, &embedded.MissingError{Arch: arch} }
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			spoil(p, &s)
			if err := p.Create(t.Context(), s, nil); err == nil {
				t.Error("no error")
			}
			if left := files(t, p); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestReplaceSwapsTheDiskAndAFailedOneKeepsIt(t *testing.T) {
	p := newProvider(t)
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	old, err := p.Machine(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	bad := tiny(t, "2")
	bad.Disk = mib
	if err := p.Replace(t.Context(), bad, nil, nil); err == nil {
		t.Error("an impossible disk was no error")
	}
	if m, err := p.Machine(t.Context(), "dev"); err != nil || m.Digest != old.Digest || m.State != Stopped {
		t.Errorf("after the failure: %+v, %v", m, err)
	}
	if err := p.Replace(t.Context(), tiny(t, "2"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Machine(t.Context(), "dev"); err != nil || m.Digest == old.Digest {
		t.Errorf("after the replacement: %+v, %v", m, err)
	}
	if left := files(t, p); left != "dev" {
		t.Errorf("files are %s", left)
	}
}

func TestConfigureChangesFilesAndNeverShrinksADisk(t *testing.T) {
	p := newProvider(t)
	s := tiny(t, "1")
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	s.CPUs, s.Disk, s.Services = 1, 128*mib, []string{"a"}
	if err := p.Configure(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	m, err := p.Machine(t.Context(), "dev")
	if err != nil || m.CPUs != 1 || m.Disk != 128*mib || len(m.Services) != 1 {
		t.Errorf("observed %+v, %v", m, err)
	}
	s.Disk = 32 * mib
	if err := p.Configure(t.Context(), s, nil); err == nil {
		t.Error("a disk was to shrink")
	}
}

func TestBrokenMachineIsSeenAndRepairedWithItsDisk(t *testing.T) {
	for _, broken := range []string{configFile, bootConfigFile} {
		t.Run(broken, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			b := p.bundle("dev")
			mark := []byte("precious")
			disk, err := os.OpenFile(b.path(diskFile), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := disk.WriteAt(mark, 63*mib); err != nil {
				t.Fatal(err)
			}
			disk.Close()
			if err := os.WriteFile(b.path(broken), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := p.Machine(t.Context(), "dev")
			if err != nil || m.State != Broken || !strings.Contains(m.Problem, broken) {
				t.Fatalf("observed %+v, %v", m, err)
			}
			if known := broken != configFile; known != (m.Owner == s.Owner && m.Digest != "") {
				t.Errorf("of its record this is left: %+v", m.Spec)
			}
			if err := p.Repair(t.Context(), s, nil, nil); err != nil {
				t.Fatal(err)
			}
			if m, err := p.Machine(t.Context(), "dev"); err != nil || m.State != Stopped {
				t.Errorf("after the repair: %+v, %v", m, err)
			}
			data, err := os.ReadFile(b.path(diskFile))
			if err != nil || string(data[63*mib:63*mib+len(mark)]) != string(mark) {
				t.Error("the disk is another one")
			}
		})
	}
}

func TestBundleOfANewerProgramIsNotRepaired(t *testing.T) {
	p := newProvider(t)
	s := tiny(t, "1")
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	future := []byte(`{"configuration":{"id":"dev"},"stead":{"version":99,"writtenBy":"7.0"}}`)
	path := p.bundle("dev").path(configFile)
	if err := os.WriteFile(path, future, 0o600); err != nil {
		t.Fatal(err)
	}
	var newer *NewerFormError
	if err := p.Repair(t.Context(), s, nil, nil); !errors.As(err, &newer) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(future) {
		t.Errorf("the file became %s, %v", got, err)
	}
}

func TestKilledCommandsLeftoversAreSweptUnlessSomebodyWorksThere(t *testing.T) {
	p := newProvider(t)
	for _, name := range []string{".new-dev.1", ".old-dev.2", ".new-dev-2.3", ".new-busy.3"} {
		if err := os.Mkdir(filepath.Join(p.machinesDir(), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := p.lock(t.Context(), p.machineLock("busy"), "testing")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := p.Delete(t.Context(), "dev", nil); err != nil {
		t.Fatal(err)
	}
	if left := files(t, p); left != ".new-busy.3" {
		t.Errorf("left: %s", left)
	}
}

func TestFirstMachineIsTheDefaultUntilItIsGone(t *testing.T) {
	p := newProvider(t)
	for _, id := range []string{"one", "two"} {
		s := tiny(t, "1")
		s.ID = id
		if err := p.Create(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := p.Default(); err != nil || id != "one" {
		t.Errorf("default is %q, %v", id, err)
	}
	if err := p.SetDefault("two"); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), "two", nil); err != nil {
		t.Fatal(err)
	}
	if id, err := p.Default(); err != nil || id != "" {
		t.Errorf("default is %q, %v", id, err)
	}
	if err := p.SetDefault("nobody"); err == nil {
		t.Error("a machine that is not there became the default")
	}
}
