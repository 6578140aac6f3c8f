package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stead-vm/stead/provider/boot"
	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/usage"

	"github.com/stead-vm/stead/provider/transfer"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// bootedKernel returns the kernel that the machine's supervisor would boot.
func bootedKernel(t *testing.T, p *Provider, id string) (path string, err error) {
	t.Helper()
	boot, err := p.Loader.Prepare(t.Context(), p.Bundles.Bundle(id), t.TempDir())
	return boot.Config.Kernel, err
}

func TestCheckDoesNotFetchKernels(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	if err := p.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.kernelsDir()); pub.asked.Load() != 0 || !os.IsNotExist(err) {
		t.Errorf("Check made %d requests; kernels directory: %v", pub.asked.Load(), err)
	}
}

func TestCreateFetchesTheDefaultKernelOnce(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	var last transfer.Event
	err := p.Create(t.Context(), s, func(e transfer.Event) {
		if e.ID == "kernel" {
			last = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !last.Done || last.Action != transfer.ActionPull || last.Total == 0 {
		t.Errorf("the last event of the kernel was %+v", last)
	}
	before := pub.asked.Load()
	pub.URL = "gone"
	s.ID = "second"
	if err := p.Create(t.Context(), s, nil); err != nil || pub.asked.Load() != before {
		t.Errorf("the second machine: %v, after %d more requests", err, pub.asked.Load()-before)
	}
	want := filepath.Join(p.kernelsDir(), pub.SHA256+"-vmlinux-6.18.15")
	if got, err := bootedKernel(t, p, "dev"); err != nil || got != want {
		t.Errorf("it boots %s, %v, want %s", got, err, want)
	}
	u, err := p.Usage().Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range u.Groups {
		if g.Kind == usage.Kernels && (g.Count != 1 || g.Reclaimable != 0) || g.Kind == usage.Images && g.Reclaimable > g.Items[0].Real*3 {
			t.Errorf("%s take %+v", g.Kind, g)
		}
	}
}

func TestConcurrentCreatesShareOneFetch(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	var all sync.WaitGroup
	for _, id := range []string{"one", "two", "three"} {
		all.Go(func() {
			s := s
			s.ID = id
			if err := p.Create(t.Context(), s, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := pub.asked.Load(); n != 2 { // for the size, and for the archive
		t.Errorf("%d requests, want 2", n)
	}
}

func TestStartFetchesTheKernelAndSuperviseDoesNot(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.kernelsDir()); err != nil {
		t.Fatal(err)
	}
	before := pub.asked.Load()
	var later *kernel.NotFetchedError
	if _, err := bootedKernel(t, p, "dev"); !errors.As(err, &later) || pub.asked.Load() != before {
		t.Errorf("the supervisor says %v, after %d requests", err, pub.asked.Load()-before)
	}
	// Start fails last because there is no program to run as the supervisor.
	var events atomic.Int32
	err := p.Start(t.Context(), "dev", func(transfer.Event) { events.Add(1) })
	if err == nil || !strings.Contains(err.Error(), "supervisor") || events.Load() == 0 || pub.asked.Load() == before {
		t.Errorf("starting gave %v, %d events, %d requests", err, events.Load(), pub.asked.Load()-before)
	}
	if _, err := bootedKernel(t, p, "dev"); err != nil {
		t.Errorf("after the fetch, the supervisor says %v", err)
	}
}

// nestedMac is a Mac that supports nested virtualization.
type nestedMac struct{ appleDriver }

func (d nestedMac) Capabilities(ctx context.Context) (hypervisor.Capabilities, error) {
	caps, err := d.appleDriver.Capabilities(ctx)
	caps.Nested = true
	return caps, err
}

func TestDefaultKernelWithoutKVMIsRefusedFirst(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	p.Loader.Driver = nestedMac{}
	refused := func(t *testing.T, err error) {
		t.Helper()
		var none *boot.NoVirtualizationError
		if !errors.As(err, &none) || !strings.Contains(none.Why, "default kernel") || !strings.Contains(none.Remedy(), "CONFIG_KVM") {
			t.Errorf("got %v, want a NoVirtualizationError for the kernel", err)
		}
	}
	nested := s
	nested.Virtualization = true
	refused(t, p.Check(t.Context(), nested))
	refused(t, p.Create(t.Context(), nested, nil))
	if left := bundletest.Names(t, p.Bundles); left != "" || pub.asked.Load() != 0 {
		t.Errorf("left are %q, after %d requests", left, pub.asked.Load())
	}
	nested.Kernel = filepath.Join(t.TempDir(), "Image")
	if err := os.WriteFile(nested.Kernel, arm64Kernel("6.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), nested); err != nil {
		t.Errorf("with a kernel of its own: %v", err)
	}
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	s.Virtualization = true // as if edited in boot-config.json
	if err := p.Bundles.Bundle("dev").WriteSettings(s.Settings); err != nil {
		t.Fatal(err)
	}
	refused(t, p.Start(t.Context(), "dev", nil))
}

func TestMachineWithItsOwnKernelFetchesNone(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	s.Kernel = filepath.Join(t.TempDir(), "Image")
	if err := os.WriteFile(s.Kernel, arm64Kernel("6.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Create(t.Context(), s, nil); err != nil || pub.asked.Load() != 0 {
		t.Errorf("Create = %v, after %d requests", err, pub.asked.Load())
	}
}

func TestInstalledKernelIsPreferred(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	apples, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(apples, "vmlinux-6.18.5"), arm64Kernel("6.18.5"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := p.Loader.Kernels.(kernel.FetchedDefaults)
	source.Installed = apples
	p.Loader.Kernels = source
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := bootedKernel(t, p, "dev"); err != nil || got != filepath.Join(apples, "vmlinux-6.18.5") || pub.asked.Load() != 0 {
		t.Errorf("it boots %s, %v, after %d requests", got, err, pub.asked.Load())
	}
}

func TestCheckReportsAMissingDefaultKernel(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, _ := newMac(t, pub)
	p.Loader.Driver = idleDriver{}
	source := p.Loader.Kernels.(kernel.FetchedDefaults)
	source.Archive.Arch = "riscv64"
	p.Loader.Kernels = source
	var none *kernel.NoDefaultError
	if err := p.Check(t.Context(), tiny(t, "1")); !errors.As(err, &none) || pub.asked.Load() != 0 {
		t.Errorf("Check = %v", err)
	}
}

func TestOfflineMachinesBootTheExistingKernel(t *testing.T) {
	old, pub := newPublisher(t, "6.12.1"), newPublisher(t, "6.18.15")
	p, s := newMac(t, old)
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	// A newer version of stead has another default kernel.
	source := p.Loader.Kernels.(kernel.FetchedDefaults)
	source.Archive = pub.Archive
	source.Archive.URL = "http://127.0.0.1:1/kernel.tar.zst"
	p.Loader.Kernels = source
	want := filepath.Join(p.kernelsDir(), old.SHA256+"-vmlinux-6.12.1")
	if err := p.Loader.Kernels.Fetch(t.Context(), "arm64", nil); err != nil {
		t.Error(err)
	}
	if got, err := bootedKernel(t, p, "dev"); err != nil || got != want {
		t.Errorf("offline it boots %s, %v, want %s", got, err, want)
	}
	source.Archive.URL = pub.URL
	p.Loader.Kernels = source
	if err := p.Loader.Kernels.Fetch(t.Context(), "arm64", nil); err != nil {
		t.Error(err)
	}
	if got, err := bootedKernel(t, p, "dev"); err != nil || filepath.Base(got) != pub.SHA256+"-vmlinux-6.18.15" {
		t.Errorf("with the network it boots %s, %v", got, err)
	}
}
