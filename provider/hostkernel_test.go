package provider

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

// booted is the kernel that the machine's supervisor would boot.
func booted(t *testing.T, p *Provider, id string) (path string, err error) {
	t.Helper()
	boot, err := p.prepare(t.Context(), p.bundle(id), t.TempDir())
	return boot.Config.Kernel, err
}

func TestPlanningNeedsNoKernelThatCanBeFetchedLater(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	if err := p.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.kernelsDir()); pub.asked.Load() != 0 || !os.IsNotExist(err) {
		t.Errorf("planning asked %d times, and left %v", pub.asked.Load(), err)
	}
}

func TestMakingAMachineFetchesItsDefaultKernelOnce(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	var last image.Event
	err := p.Create(t.Context(), s, func(e image.Event) {
		if e.ID == "kernel" {
			last = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !last.Done || last.Action != image.ActionPull || last.Total == 0 {
		t.Errorf("the last event of the kernel was %+v", last)
	}
	before := pub.asked.Load()
	pub.URL = "gone"
	s.ID = "second"
	if err := p.Create(t.Context(), s, nil); err != nil || pub.asked.Load() != before {
		t.Errorf("the second machine: %v, after %d more requests", err, pub.asked.Load()-before)
	}
	want := filepath.Join(p.kernelsDir(), pub.SHA256+"-vmlinux-6.18.15")
	if got, err := booted(t, p, "dev"); err != nil || got != want {
		t.Errorf("it boots %s, %v, want %s", got, err, want)
	}
	u, err := p.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range u.Groups {
		if g.Kind == UsedByKernels && (g.Count != 1 || g.Reclaimable != 0) || g.Kind == UsedByImages && g.Reclaimable > g.Items[0].Real*3 {
			t.Errorf("%s take %+v", g.Kind, g)
		}
	}
}

func TestMachinesMadeSideBySideShareOneFetch(t *testing.T) {
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
	if n := pub.asked.Load(); n != 2 { // how large it is, and for it
		t.Errorf("there were %d requests", n)
	}
}

func TestStartingFetchesAKernelAndSupervisingDoesNot(t *testing.T) {
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
	if _, err := booted(t, p, "dev"); !errors.As(err, &later) || pub.asked.Load() != before {
		t.Errorf("the supervisor says %v, after %d requests", err, pub.asked.Load()-before)
	}
	// There is no program to supervise with: that is found out last.
	var events atomic.Int32
	err := p.Start(t.Context(), "dev", func(image.Event) { events.Add(1) })
	if err == nil || !strings.Contains(err.Error(), "supervisor") || events.Load() == 0 || pub.asked.Load() == before {
		t.Errorf("starting gave %v, %d events, %d requests", err, events.Load(), pub.asked.Load()-before)
	}
	if _, err := booted(t, p, "dev"); err != nil {
		t.Errorf("then the supervisor says %v", err)
	}
}

func TestAMachineOfItsOwnKernelFetchesNone(t *testing.T) {
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

func TestAnInstalledKernelIsTakenBeforeAnyOther(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	apples, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(apples, "vmlinux-6.18.5"), arm64Kernel("6.18.5"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := p.kernels.(fetchedKernels)
	source.installed = apples
	p.kernels = source
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := booted(t, p, "dev"); err != nil || got != filepath.Join(apples, "vmlinux-6.18.5") || pub.asked.Load() != 0 {
		t.Errorf("it boots %s, %v, after %d requests", got, err, pub.asked.Load())
	}
}

func TestAProcessorWithoutDefaultKernelIsSaidWhenPlanning(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, _ := newMac(t, pub)
	p.driver = idleDriver{}
	source := p.kernels.(fetchedKernels)
	source.archive.Arch = "riscv64"
	p.kernels = source
	var none *kernel.NoKernelError
	if err := p.Check(t.Context(), tiny(t, "1")); !errors.As(err, &none) || pub.asked.Load() != 0 {
		t.Errorf("Check = %v", err)
	}
}

func TestWithoutTheNetworkMachinesBootTheKernelThatIsThere(t *testing.T) {
	old, pub := newPublisher(t, "6.12.1"), newPublisher(t, "6.18.15")
	p, s := newMac(t, old)
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	// A newer stead wants another kernel.
	source := p.kernels.(fetchedKernels)
	source.archive = pub.Archive
	source.archive.URL = "http://127.0.0.1:1/kernel.tar.zst"
	p.kernels = source
	want := filepath.Join(p.kernelsDir(), old.SHA256+"-vmlinux-6.12.1")
	if err := p.kernels.fetch(t.Context(), "arm64", nil); err != nil {
		t.Error(err)
	}
	if got, err := booted(t, p, "dev"); err != nil || got != want {
		t.Errorf("offline it boots %s, %v, want %s", got, err, want)
	}
	source.archive.URL = pub.URL
	p.kernels = source
	if err := p.kernels.fetch(t.Context(), "arm64", nil); err != nil {
		t.Error(err)
	}
	if got, err := booted(t, p, "dev"); err != nil || filepath.Base(got) != pub.SHA256+"-vmlinux-6.18.15" {
		t.Errorf("with the network it boots %s, %v", got, err)
	}
}

func TestAKernelThatCannotBeFetchedLeavesNoMachineAndSaysWhatToDo(t *testing.T) {
	remedy := func(t *testing.T, err error) string {
		t.Helper()
		var r interface{ Remedy() string }
		if !errors.As(err, &r) {
			t.Fatalf("%v has no remedy", err)
		}
		return r.Remedy()
	}
	t.Run("without the network", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		pub.URL = "http://127.0.0.1:1/kernel.tar.zst"
		p, s := newMac(t, pub)
		err := p.Create(t.Context(), s, nil)
		var failed *kernel.FetchError
		if !errors.As(err, &failed) || !strings.Contains(remedy(t, err), "127.0.0.1:1") || !strings.Contains(remedy(t, err), "kernel = ") {
			t.Errorf("Create = %v", err)
		}
		if left := files(t, p); left != "" {
			t.Errorf("left are %s", left)
		}
	})
	t.Run("because it is another one", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		pub.wrong.Store(true)
		p, s := newMac(t, pub)
		err := p.Create(t.Context(), s, nil)
		var damaged *image.BlobError
		got := fmt.Sprintf("%x", sha256.Sum256([]byte("tampered with")))
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), pub.SHA256) || !strings.Contains(err.Error(), got) {
			t.Errorf("Create = %v, want both digests", err)
		}
		if !strings.Contains(remedy(t, err), "kernel = ") {
			t.Errorf("remedy is %s", remedy(t, err))
		}
	})
	t.Run("because somebody interrupts", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		p, s := newMac(t, pub)
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		release, err := p.images.Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		busy := flock.New(filepath.Join(p.kernelsDir(), ".lock")) // as of a command that fetches
		if err := errors.Join(os.Mkdir(p.kernelsDir(), 0o700), busy.Lock()); err != nil {
			t.Fatal(err)
		}
		defer busy.Unlock()
		time.AfterFunc(50*time.Millisecond, func() { cancel(interrupted) })
		if err := p.Create(ctx, s, nil); !errors.Is(err, interrupted) {
			t.Errorf("Create = %v", err)
		}
	})
}

func TestAFullDiskLeavesNoKernelAndIsToldAsSuch(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs; CI runs the tests as root too")
	}
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	if err := os.Mkdir(p.kernelsDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4k", "none", p.kernelsDir()).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount; CI has it: %s", out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", p.kernelsDir()).Run(); err != nil {
			t.Error(err)
		}
	})
	var full *image.SpaceError
	if err := p.Create(t.Context(), s, nil); !errors.As(err, &full) || full.Dir != p.kernelsDir() {
		t.Fatalf("Create = %v", err)
	}
	entries, err := os.ReadDir(p.kernelsDir())
	if err != nil || len(entries) != 1 || files(t, p) != "" { // the lock
		t.Errorf("left are %v, %v, machines %q", entries, err, files(t, p))
	}
	if out, err := exec.Command("mount", "-o", "remount,size=1m", p.kernelsDir()).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	before := pub.asked.Load()
	if err := p.Create(t.Context(), s, nil); err != nil || pub.asked.Load() != before {
		t.Errorf("with more room: %v, after %d more requests, though the archive had come", err, pub.asked.Load()-before)
	}
}
