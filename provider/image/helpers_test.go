package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/transfer"
)

var amd64 = platform.Platform{OS: "linux", Architecture: "amd64"}

// newStore opens a store whose disks are the concatenated layers.
func newStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := New(Options{Dir: dir, MakeDisk: concatenate})
	if err != nil {
		t.Fatal(err)
	}
	s.retry = transfer.Policy{Tries: 3, Wait: time.Millisecond, Stall: time.Minute}
	return s
}

func concatenate(_ context.Context, f *os.File, layers []Layer, size int64, _ string) error {
	for _, l := range layers {
		rc, err := l.Open()
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, rc); err != nil {
			return err
		}
		if err := rc.Close(); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// tarOf returns a tar of files, given as name, content, name, content…
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o755, Size: int64(len(files[i+1])), ModTime: time.Unix(1700000000, 0)}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// layerOf returns a gzipped layer.
func layerOf(t testing.TB, files ...string) v1.Layer {
	t.Helper()
	raw := tarOf(t, files...)
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// imageOf returns an image of the given layers.
func imageOf(t testing.TB, p platform.Platform, layers ...v1.Layer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Variant = p.OS, p.Architecture, p.Variant
	c.Created = v1.Time{Time: time.Unix(1700000000, 0).UTC()}
	c.Config = v1.Config{Env: []string{"LANG=C.UTF-8"}, StopSignal: "SIGRTMIN+3", User: "root", WorkingDir: "/"}
	img, err = mutate.ConfigFile(img, c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// sample returns an image of three layers that contain the given word.
func sample(t testing.TB, word string) v1.Image {
	return imageOf(t, amd64,
		layerOf(t, "bin/sh", word+" sh"), layerOf(t, "etc/os-release", word), layerOf(t, "sbin/init", word+" init"))
}

// multiArch returns an index with one image for each platform.
func multiArch(t testing.TB, ps ...platform.Platform) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range ps {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        imageOf(t, p, layerOf(t, "arch", p.String())),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}},
		})
	}
	// buildkit adds an attestation for each image.
	return mutate.AppendManifests(index, mutate.IndexAddendum{
		Add:        imageOf(t, platform.Platform{OS: "unknown", Architecture: "unknown"}, static.NewLayer([]byte("{}"), "application/vnd.in-toto+json")),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}},
	})
}

func digestOf(t testing.TB, x interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	h, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func layersOf(t testing.TB, img v1.Image) []v1.Layer {
	t.Helper()
	ls, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// content returns the expected content of a disk created by concatenate.
func content(t testing.TB, img v1.Image) []byte {
	t.Helper()
	var all []byte
	for _, l := range layersOf(t, img) {
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	return all
}

// wantDisk creates a disk and checks its content.
func wantDisk(t testing.TB, s *Store, img Image, want []byte) {
	t.Helper()
	path, err := s.Disk(t.Context(), img, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1<<20 || !bytes.HasPrefix(got, want) {
		t.Errorf("%s does not hold the layers", path)
	}
}

// wantEmpty checks that nothing is left in a directory of the store.
func wantEmpty(t testing.TB, dir, folder string) {
	t.Helper()
	if left, _ := os.ReadDir(filepath.Join(dir, folder)); len(left) != 0 {
		t.Errorf("%d files are left in %s", len(left), folder)
	}
}

// wantNothingHalf checks that a store holds no incomplete files.
func wantNothingHalf(t testing.TB, dir string) {
	t.Helper()
	wantEmpty(t, dir, "tmp")
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		f, err := os.Open(filepath.Join(dir, "blobs", "sha256", b.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := v1.SHA256(f)
		if err != nil || h.Hex != b.Name() {
			t.Errorf("blob %s has the digest %s (%v)", b.Name(), h.Hex, err)
		}
		_ = f.Close()
	}
}

// remedy returns an error's hint, like the CLI.
func remedy(err error) string {
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		return r.Remedy()
	}
	return ""
}

// wantError checks that an error contains all words and its remedy contains hint.
func wantError(t *testing.T, err error, hint string, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if got := remedy(err); !strings.Contains(got, hint) || hint != "" && got == "" {
		t.Errorf("remedy of %q is %q, which does not say %q", err, got, hint)
	}
}

func writeFile(t testing.TB, path string, raw []byte) string {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func blobFile(dir string, h v1.Hash) string {
	return filepath.Join(dir, "blobs", h.Algorithm, h.Hex)
}

func platforms(words ...string) []platform.Platform {
	ps := make([]platform.Platform, len(words))
	for i, w := range words {
		var err error
		if ps[i], err = platform.Parse(w); err != nil {
			panic(fmt.Sprintf("test: %v", err))
		}
	}
	return ps
}

func blobBytes(t testing.TB, l v1.Layer) []byte {
	t.Helper()
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// smallDisk returns a directory on a file system of the given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs; CI runs the tests as root too")
	}
	dir := t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "none", dir).Run(); err != nil {
		t.Skip("needs the right to mount; CI has it")
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill fills a directory's file system.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := int64(1 << 16); n > 0; {
		if _, err := f.Write(make([]byte, n)); err != nil {
			n /= 16
		}
	}
}
