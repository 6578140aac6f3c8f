package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"

	"github.com/gofrs/flock"

	"github.com/stead-vm/stead/provider/kernel"
)

func TestFailedKernelFetch(t *testing.T) {
	remedy := func(t *testing.T, err error) string {
		t.Helper()
		var r interface{ Remedy() string }
		if !errors.As(err, &r) {
			t.Fatalf("%v has no remedy", err)
		}
		return r.Remedy()
	}
	t.Run("no network", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		pub.URL = "http://127.0.0.1:1/kernel.tar.zst"
		p, s := newMac(t, pub)
		err := p.Create(t.Context(), s, nil)
		var failed *kernel.FetchError
		if !errors.As(err, &failed) || !strings.Contains(remedy(t, err), "127.0.0.1:1") || !strings.Contains(remedy(t, err), "kernel = ") {
			t.Errorf("Create = %v", err)
		}
		if left := bundletest.Names(t, p.Bundles); left != "" {
			t.Errorf("left are %s", left)
		}
	})
	t.Run("wrong contents", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		pub.wrong.Store(true)
		p, s := newMac(t, pub)
		err := p.Create(t.Context(), s, nil)
		var damaged *transfer.BlobError
		got := fmt.Sprintf("%x", sha256.Sum256([]byte("tampered with")))
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), pub.SHA256) || !strings.Contains(err.Error(), got) {
			t.Errorf("Create = %v, want both digests", err)
		}
		if !strings.Contains(remedy(t, err), "kernel = ") {
			t.Errorf("remedy is %s", remedy(t, err))
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		pub := newPublisher(t, "6.18.15")
		p, s := newMac(t, pub)
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		release, err := p.Images.Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		busy := flock.New(filepath.Join(p.kernelsDir(), ".lock")) // as held by a command that fetches
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

func TestKernelFetchOnAFullDisk(t *testing.T) {
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
	var full *space.FullError
	if err := p.Create(t.Context(), s, nil); !errors.As(err, &full) || full.Dir != p.kernelsDir() {
		t.Fatalf("Create = %v", err)
	}
	entries, err := os.ReadDir(p.kernelsDir())
	if err != nil || len(entries) != 1 || bundletest.Names(t, p.Bundles) != "" { // the lock
		t.Errorf("left are %v, %v, machines %q", entries, err, bundletest.Names(t, p.Bundles))
	}
	if out, err := exec.Command("mount", "-o", "remount,size=1m", p.kernelsDir()).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	before := pub.asked.Load()
	if err := p.Create(t.Context(), s, nil); err != nil || pub.asked.Load() != before {
		t.Errorf("with more space: %v, after %d more requests for a complete archive", err, pub.asked.Load()-before)
	}
}

func TestKilledKernelFetchResumes(t *testing.T) {
	pub := newPublisher(t, "6.18.15")
	p, s := newMac(t, pub)
	pub.stall.Store(true)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), FetcherEnv+"="+strings.Join([]string{p.Bundles.Home(), pub.URL, pub.SHA256, pub.Member}, " "))
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(p.Bundles.Home(), "images", "partial", pub.SHA256)
	var came int64
	for end := time.Now().Add(time.Minute); came == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if info, err := os.Stat(part); err == nil {
			came = info.Size()
		}
	}
	kill(other)
	pub.stall.Store(false)
	if came == 0 {
		t.Fatal("nothing was downloaded")
	}
	var later *kernel.NotFetchedError
	if _, err := p.Loader.Kernels.Find("arm64"); !errors.As(err, &later) {
		t.Errorf("find = %v", err)
	}
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if last := pub.ranges[len(pub.ranges)-1]; last != fmt.Sprintf("bytes=%d-", came) {
		t.Errorf("the second request is for %q after %d bytes", last, came)
	}
	if _, err := os.Stat(part); !os.IsNotExist(err) {
		t.Errorf("the partial file is left: %v", err)
	}
}
