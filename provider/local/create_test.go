package local

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

	"github.com/stead-vm/stead/provider/boot"
	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/lock"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/size"

	"github.com/stead-vm/stead/provider/guest/embedded"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// idleDriver runs no machines. refuse is the error of its check.
type idleDriver struct{ refuse error }

func (d idleDriver) Capabilities(context.Context) (hypervisor.Capabilities, error) {
	return hypervisor.Capabilities{Archs: []string{runtime.GOARCH}}, nil
}
func (d idleDriver) Validate(context.Context, hypervisor.Config) error { return d.refuse }
func (d idleDriver) NetworkSettings() hypervisor.NetworkSettings       { return hypervisor.NetworkSettings{} }
func (d idleDriver) Examine(context.Context) []doctor.Finding          { return nil }

func (d idleDriver) Start(context.Context, hypervisor.Config) (hypervisor.VM, error) {
	return nil, hypervisor.ErrUnsupported
}

// newProvider returns a provider with an empty state directory and the images "local/tiny:1" and
// "local/tiny:2".
func newProvider(t *testing.T) *Provider {
	t.Helper()
	if _, err := kernel.Host(runtime.GOARCH); err != nil {
		t.Skipf("machines need a kernel: %v", err)
	}
	t.Setenv("HOME", t.TempDir())
	o := Options{Home: t.TempDir(), Exe: "/nonexistent", Version: "test", Log: slog.New(slog.DiscardHandler)}
	bundles, err := bundle.NewStore(o.Home, &lock.Locker{Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	images, err := openImages(bundles.Home(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1", "2"} {
		if _, err := images.Import(t.Context(), "local/tiny:"+tag, tinyRoot(t, tag), nil); err != nil {
			t.Fatal(err)
		}
	}
	p := &Provider{Bundles: bundles, Machines: &Inventory{bundles: bundles}, Images: images, opts: o, log: o.Log}
	p.Loader = &boot.Loader{Driver: idleDriver{}, Agent: func(string) (boot.Agent, error) { return embedded.Agent("agent"), nil }}
	if p.Loader.Kernels, err = p.openKernels(); err != nil {
		t.Fatal(err)
	}
	return p
}

// tinyRoot returns a tarball of a root file system with one file.
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

func tiny(t *testing.T, tag string) machine.Spec {
	t.Helper()
	user := host.User()
	s := machine.Spec{
		ID: "dev", Image: "local/tiny:" + tag, Platform: platform.Host(), User: user,
		Owner: machine.Owner{Project: "p", File: "/p/machines.hcl"}, Settings: host.DefaultSettings(),
	}
	s.Disk = 64 * size.MiB
	return s
}

func TestCreate(t *testing.T) {
	p := newProvider(t)
	want := tiny(t, "1")
	if err := p.Create(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	m, err := p.Machines.Get(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	if m.State != machine.Stopped || m.Owner != want.Owner || m.User != want.User || m.Image != want.Image || m.Digest == "" || !m.Default {
		t.Errorf("the machine is %+v", m)
	}
	var exists *machine.ExistsError
	if err := p.Create(t.Context(), want, nil); !errors.As(err, &exists) {
		t.Errorf("creating it again = %v", err)
	}
	want.Digest = m.Digest
	if err := p.Create(t.Context(), want, nil); err != nil {
		t.Errorf("creating it again for the same project and image = %v", err)
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	tests := map[string]func(*Provider, *machine.Spec){
		"missing image": func(_ *Provider, s *machine.Spec) { s.Image = "local/none:1" },
		"another platform": func(_ *Provider, s *machine.Spec) {
			s.Platform = platform.Platform{OS: "linux", Architecture: "riscv64"}
		},
		"disk too small": func(_ *Provider, s *machine.Spec) { s.Disk = size.MiB },
		"refused by the hypervisor": func(p *Provider, _ *machine.Spec) {
			p.Loader.Driver = idleDriver{refuse: errors.New("too many processors")}
		},
		"no nested virtualization": func(_ *Provider, s *machine.Spec) { s.Virtualization = true },
		"invalid name":             func(_ *Provider, s *machine.Spec) { s.ID = "../x" },
		"planned image is gone":    func(_ *Provider, s *machine.Spec) { s.Digest = "sha256:" + strings.Repeat("0", 64) },
		"no agent built in": func(p *Provider, _ *machine.Spec) {
			p.Loader.Agent = func(arch string) (boot.Agent, error) { return nil, &embedded.MissingError{Arch: arch} }
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
			if left := bundletest.Names(t, p.Bundles); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	p := newProvider(t)
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	old, err := p.Machines.Get(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	bad := tiny(t, "2")
	bad.Disk = size.MiB
	if err := p.Replace(t.Context(), bad, nil, nil); err == nil {
		t.Error("a replacement with an invalid disk succeeded")
	}
	if m, err := p.Machines.Get(t.Context(), "dev"); err != nil || m.Digest != old.Digest || m.State != machine.Stopped {
		t.Errorf("after the failure: %+v, %v", m, err)
	}
	if err := p.Replace(t.Context(), tiny(t, "2"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Machines.Get(t.Context(), "dev"); err != nil || m.Digest == old.Digest {
		t.Errorf("after the replacement: %+v, %v", m, err)
	}
	if left := bundletest.Names(t, p.Bundles); left != "dev" {
		t.Errorf("files are %s", left)
	}
}

func TestConfigure(t *testing.T) {
	p := newProvider(t)
	s := tiny(t, "1")
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	s.CPUs, s.Disk, s.Services = 1, 128*size.MiB, []string{"a"}
	if err := p.Configure(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	m, err := p.Machines.Get(t.Context(), "dev")
	if err != nil || m.CPUs != 1 || m.Disk != 128*size.MiB || len(m.Services) != 1 {
		t.Errorf("the machine is %+v, %v", m, err)
	}
	s.Disk = 32 * size.MiB
	if err := p.Configure(t.Context(), s, nil); err == nil {
		t.Error("Configure shrinks a disk")
	}
}

func TestRepairKeepsTheDisk(t *testing.T) {
	for _, broken := range []string{bundle.ConfigFile, bundle.BootConfigFile} {
		t.Run(broken, func(t *testing.T) {
			p := newProvider(t)
			s := tiny(t, "1")
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
			b := p.Bundles.Bundle("dev")
			bundletest.Mark(t, b.Path(bundle.DiskFile))
			if err := os.WriteFile(b.Path(broken), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := p.Machines.Get(t.Context(), "dev")
			if err != nil || m.State != machine.Broken || !strings.Contains(m.Problem, broken) {
				t.Fatalf("the machine is %+v, %v", m, err)
			}
			if known := broken != bundle.ConfigFile; known != (m.Owner == s.Owner && m.Digest != "") {
				t.Errorf("the spec is %+v", m.Spec)
			}
			if err := p.Repair(t.Context(), s, nil, nil); err != nil {
				t.Fatal(err)
			}
			if m, err := p.Machines.Get(t.Context(), "dev"); err != nil || m.State != machine.Stopped {
				t.Errorf("after the repair: %+v, %v", m, err)
			}
			bundletest.CheckMarked(t, b.Path(bundle.DiskFile))
		})
	}
}

func TestBundleOfANewerVersionIsNotRepaired(t *testing.T) {
	p := newProvider(t)
	s := tiny(t, "1")
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	future := []byte(`{"configuration":{"id":"dev"},"stead":{"version":99,"writtenBy":"7.0"}}`)
	path := p.Bundles.Bundle("dev").Path(bundle.ConfigFile)
	if err := os.WriteFile(path, future, 0o600); err != nil {
		t.Fatal(err)
	}
	var newer *bundle.NewerFormError
	if err := p.Repair(t.Context(), s, nil, nil); !errors.As(err, &newer) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(future) {
		t.Errorf("the file is now %s, %v", got, err)
	}
}

func TestLeftoversAreSweptUnlessLocked(t *testing.T) {
	p := newProvider(t)
	for _, name := range []string{".new-dev.1", ".old-dev.2", ".new-dev-2.3", ".new-busy.3"} {
		if err := os.Mkdir(filepath.Join(filepath.Join(p.Bundles.Home(), "machines"), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unlock, ok := lock.File{Path: filepath.Join(p.Bundles.Home(), "machines", ".busy.lock")}.Try()
	if !ok {
		t.Fatal("cannot lock")
	}
	defer unlock()
	if err := p.Delete(t.Context(), "dev", nil); err != nil {
		t.Fatal(err)
	}
	if left := bundletest.Names(t, p.Bundles); left != ".new-busy.3" {
		t.Errorf("left: %s", left)
	}
}

func TestFirstMachineIsTheDefault(t *testing.T) {
	p := newProvider(t)
	for _, id := range []string{"one", "two"} {
		s := tiny(t, "1")
		s.ID = id
		if err := p.Create(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if id, err := p.Bundles.Default(); err != nil || id != "one" {
		t.Errorf("default is %q, %v", id, err)
	}
	if err := p.Bundles.SetDefault("two"); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), "two", nil); err != nil {
		t.Fatal(err)
	}
	if id, err := p.Bundles.Default(); err != nil || id != "" {
		t.Errorf("default is %q, %v", id, err)
	}
	if err := p.Bundles.SetDefault("missing"); err == nil {
		t.Error("a missing machine became the default")
	}
}
