package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stead-vm/stead/provider/bundle/bundletest"
	"github.com/stead-vm/stead/provider/lock"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
	"github.com/stead-vm/stead/provider/usage"
)

// names returns the references of the images in the store.
func names(t *testing.T, p *Provider) []string {
	t.Helper()
	entries, err := p.Images.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Reference)
	}
	return names
}

func TestPruneKeepsImagesInUse(t *testing.T) {
	p := newProvider(t)
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	unused, err := p.Usage().UnusedImages(t.Context())
	if err != nil || len(unused) != 1 || unused[0].Reference != "local/tiny:2" {
		t.Fatalf("unused are %v, %v", unused, err)
	}
	// A machine is created from it after it was listed as unused.
	s := tiny(t, "2")
	s.ID = "late"
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	if pruned, err := p.Usage().Prune(t.Context(), usage.PruneOptions{Images: unused}); err != nil || len(pruned.Images) != 0 {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	if err := p.Delete(t.Context(), "late", nil); err != nil {
		t.Fatal(err)
	}
	if pruned, err := p.Usage().Prune(t.Context(), usage.PruneOptions{Images: unused}); err != nil || len(pruned.Images) != 1 || pruned.Freed == 0 {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	if got := names(t, p); !slices.Equal(got, []string{"local/tiny:1"}) {
		t.Errorf("left are %v", got)
	}
	if m, err := p.Machines.Get(t.Context(), "dev"); err != nil || m.State != machine.Stopped || m.DiskUsed == 0 {
		t.Errorf("the machine is %+v, %v", m, err)
	}
}

func TestNoImageIsPrunedWhileAMachineIsUnreadable(t *testing.T) {
	p := newProvider(t)
	unused, err := p.Usage().UnusedImages(t.Context())
	if err != nil || len(unused) != 2 {
		t.Fatalf("unused are %v, %v", unused, err)
	}
	if err := os.Mkdir(p.Bundles.Bundle("broken").Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var unknown *usage.UnknownImageError
	if _, err := p.Usage().UnusedImages(t.Context()); !errors.As(err, &unknown) || unknown.ID != "broken" {
		t.Errorf("UnusedImages = %v", err)
	}
	if _, err := p.Usage().Prune(t.Context(), usage.PruneOptions{Images: unused}); !errors.As(err, &unknown) {
		t.Errorf("pruning images = %v", err)
	}
	if _, err := p.Usage().Prune(t.Context(), usage.PruneOptions{Disks: true}); err != nil {
		t.Errorf("pruning only caches = %v", err)
	}
	if got := names(t, p); len(got) != 2 {
		t.Errorf("left are %v", got)
	}
}

func TestPruneRemovesLeftoversUnlessLocked(t *testing.T) {
	p := newProvider(t)
	for _, id := range []string{"dead", "busy"} {
		dir := filepath.Join(filepath.Join(p.Bundles.Home(), "machines"), ".new-"+id+".1")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, bundle.DiskFile), make([]byte, 100_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unlock, ok := lock.File{Path: filepath.Join(p.Bundles.Home(), "machines", ".busy.lock")}.Try()
	if !ok {
		t.Fatal("cannot lock")
	}
	defer unlock()
	for _, dry := range []bool{true, false} {
		if pruned, err := p.Usage().Prune(t.Context(), usage.PruneOptions{DryRun: dry}); err != nil || pruned.Files != 1 || pruned.Freed < 100_000 {
			t.Errorf("pruned %+v, %v", pruned, err)
		}
	}
	if left := bundletest.Names(t, p.Bundles); left != ".new-busy.1" {
		t.Errorf("left: %s", left)
	}
}

func TestImagesAreKeptUntilTheMachineExists(t *testing.T) {
	p := newProvider(t)
	var pruned error
	err := p.Create(t.Context(), tiny(t, "1"), func(e transfer.Event) {
		if e.Action == transfer.ActionDisk && e.Done {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			other, err := openImages(p.Bundles.Home(), p.opts) // as another process would
			if err == nil {
				_, err = other.Remove(ctx, "local/tiny:1")
			}
			pruned = err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(pruned, context.DeadlineExceeded) {
		t.Errorf("the image was removed while its machine was created: %v", pruned)
	}
	if _, err := p.Images.Remove(t.Context(), "local/tiny:1"); err != nil {
		t.Error(err)
	}
}

func TestUsageCountsEveryFileOnce(t *testing.T) {
	p := newProvider(t)
	if err := p.Create(t.Context(), tiny(t, "1"), nil); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{
		"machines/dev/console.log": 10_000, "cache/kernels/vmlinux-0123": 20_000, "cache/accelerator.json": 100,
		"machines/.old-gone.1/rootfs.ext4": 30_000,
	} {
		path := filepath.Join(p.Bundles.Home(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u, err := p.Usage().Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	group := map[string]usage.Group{}
	var sum space.Space
	for _, g := range u.Groups {
		group[g.Kind] = g
		sum = sum.Plus(g.Space)
	}
	if all, _, err := space.In(p.Bundles.Home()); err != nil || all != sum {
		t.Errorf("the groups have %+v, the directory %+v, %v", sum, all, err)
	}
	for kind, want := range map[string]struct {
		count int
		size  int64
	}{
		usage.Disks: {1, 64 * size.MiB}, usage.Machines: {1, 64 * size.MiB}, usage.Kernels: {1, 20_000}, usage.Logs: {1, 10_000},
	} {
		if g := group[kind]; g.Count != want.count || g.Size != want.size || g.Real == 0 || kind != usage.Kernels && g.Real > 2*size.MiB {
			t.Errorf("%s are %+v, want %+v", kind, g, want)
		}
	}
	if g := group[usage.Images]; g.Count != 2 || !slices.Equal(g.Items[0].Users, []string{"dev"}) ||
		g.Items[0].Reclaimable != 0 || g.Items[1].Reclaimable == 0 || g.Reclaimable != g.Items[1].Reclaimable {
		t.Errorf("images are %+v", g)
	}
	if g := group[usage.Machines]; g.Items[0].Owner != "p" || g.Reclaimable != 0 {
		t.Errorf("machines are %+v", g)
	}
	if u.Unneeded != group[usage.Other].Reclaimable || u.Unneeded < 30_000 {
		t.Errorf("unneeded are %d, of %+v", u.Unneeded, group[usage.Other])
	}
	pruned, err := p.Usage().Prune(t.Context(), usage.PruneOptions{})
	if err != nil || pruned.Freed != u.Unneeded {
		t.Errorf("pruned %+v, %v; want the %d bytes", pruned, err, u.Unneeded)
	}
}

func TestCreateOnAFullDiskLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs; CI runs the tests as root too")
	}
	p := newProvider(t)
	s := tiny(t, "1")
	// The cached disk exists, but there is too little space for its copy.
	img, err := p.fetch(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	cached, err := p.Images.Disk(t.Context(), img, s.Disk, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(cached)
	if err != nil {
		t.Fatal(err)
	}
	half := fmt.Sprintf("size=%d", space.Of(info).Real/2)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", half, "none", filepath.Join(p.Bundles.Home(), "machines")).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount; CI has it: %s", out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", filepath.Join(p.Bundles.Home(), "machines")).Run(); err != nil {
			t.Error(err)
		}
	})
	var full *space.FullError
	if err := p.Create(t.Context(), s, nil); !errors.As(err, &full) || full.Dir != p.Bundles.Home() {
		t.Fatalf("got %v", err)
	}
	if left := bundletest.Names(t, p.Bundles); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=8m", filepath.Join(p.Bundles.Home(), "machines")).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	if err := p.Create(t.Context(), s, nil); err != nil {
		t.Errorf("with more space: %v", err)
	}
}
