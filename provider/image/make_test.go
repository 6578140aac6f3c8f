package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/stead-vm/stead/provider/platform"
)

// writeRootFS writes an image as the tarball of a root file system.
func writeRootFS(t *testing.T) func(context.Context, string) error {
	return func(_ context.Context, file string) error {
		return os.WriteFile(file, tarOf(t, "etc/os-release", "ID=made"), 0o600)
	}
}

func TestAnImageIsCreatedOnceForConcurrentCallers(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := newStore(t, dir) // as in a process of its own
			img, err := s.Make(t.Context(), "local/build:1", func(ctx context.Context, file string) error {
				made.Add(1)
				return writeRootFS(t)(ctx, file)
			}, nil)
			if err != nil || img.Reference != "local/build:1" {
				t.Errorf("Make = %v, %v", img.Reference, err)
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("the image was created %d times", n)
	}
	if img, err := newStore(t, dir).Resolve(t.Context(), "local/build:1", platform.Host(), true); err != nil || img.Digest == "" {
		t.Errorf("Resolve = %v, %v", img, err)
	}
}

func TestAFailedMakeLeavesNothing(t *testing.T) {
	s := newStore(t, t.TempDir())
	broken := errors.New("no space in the oven")
	_, err := s.Make(t.Context(), "local/build:1", func(_ context.Context, file string) error {
		return errors.Join(os.WriteFile(file, []byte("half"), 0o600), broken)
	}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("Make = %v, want the reason", err)
	}
	if left, err := os.ReadDir(s.tmpDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := s.Make(t.Context(), "local/build:1", writeRootFS(t), nil); err != nil {
		t.Errorf("the next time: %v", err)
	}
}

func TestALayoutContainsOneImage(t *testing.T) {
	s := newStore(t, t.TempDir())
	img, err := s.Make(t.Context(), "local/base:1", writeRootFS(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if err := s.Layout(t.Context(), img, dir); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || !hasTag(m.Manifests[0], LayoutTag) || m.Manifests[0].Digest.String() != img.Digest {
		t.Errorf("the layout has %+v", m.Manifests)
	}
	other, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if layers, err := other.Layers(); err != nil || len(layers) != 1 {
		t.Errorf("its layers: %v, %v", layers, err)
	}
}
