package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
)

// rootfs returns a small root file system as a tar.
func rootfs(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for i, name := range []string{"etc/", "etc/os-release", "sbin/init"} {
		h := &tar.Header{Name: name, Mode: 0o755, ModTime: time.Unix(1700000000+int64(i), 0)}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// packings returns a root file system in all supported compressions.
func packings(t *testing.T) map[string][]byte {
	t.Helper()
	raw := rootfs(t)
	var gz, zst bytes.Buffer
	zw, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gzip.NewWriter(&gz), zw} {
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{"tar": raw, "tar.gz": gz.Bytes(), "tar.zst": zst.Bytes()}
}

func TestEqualInputGivesEqualImages(t *testing.T) {
	for _, useZstd := range []bool{false, true} {
		digests := map[v1.Hash]bool{}
		for ending, raw := range packings(t) {
			dir := t.TempDir()
			file := filepath.Join(dir, "root."+ending)
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			o := options{
				dir: filepath.Join(dir, "layout"), tag: "x", rootfs: file, zstd: useZstd, arch: "riscv64",
				env: list{"A=1", "B=2"}, stopSignal: "SIGRTMIN+3",
			}
			for range 2 { // the second time replaces the first
				if err := run(o); err != nil {
					t.Fatal(err)
				}
			}
			img := onlyImage(t, o.dir)
			d, err := img.Digest()
			if err != nil {
				t.Fatal(err)
			}
			digests[d] = true
			if !useZstd { // the validator only supports gzip
				if err := validate.Image(img); err != nil {
					t.Error(err)
				}
			}
			checkImage(t, img)
		}
		if len(digests) != 1 {
			t.Errorf("zstd %v: one root file system gave %d images", useZstd, len(digests))
		}
	}
}

func onlyImage(t *testing.T, dir string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Platform.Architecture != "riscv64" {
		t.Fatalf("the layout has the index %+v, %v", m, err)
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func checkImage(t *testing.T, img v1.Image) {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != "riscv64" || c.Config.StopSignal != "SIGRTMIN+3" || len(c.Config.Env) != 2 {
		t.Errorf("the config is %+v", c)
	}
	if c.Created.Unix() != 1700000002 {
		t.Errorf("created %v, want the time of the newest file", c.Created)
	}
}

func TestEpochFromEnvironment(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	if at, err := epoch(time.Now()); err != nil || at.Unix() != 1000000000 {
		t.Errorf("got %v, %v", at, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	if _, err := epoch(time.Now()); err == nil {
		t.Error("want an error for a word")
	}
}

func TestOtherFilesAreRejected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(file, bytes.Repeat([]byte("junk"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	layout := filepath.Join(t.TempDir(), "layout")
	if err := run(options{dir: layout, tag: "x", rootfs: file}); err == nil {
		t.Error("junk was accepted as an image")
	}
	if _, err := os.Stat(layout); err == nil {
		t.Error("a layout was left behind")
	}
}
