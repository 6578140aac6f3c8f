package image

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stead-vm/stead/provider/platform"
)

func TestImportDetectsEveryFormat(t *testing.T) {
	p := platform.Host()
	want := imageOf(t, p, layerOf(t, "bin/sh", "sh"), layerOf(t, "etc/passwd", "root"))
	rootfs := tarOf(t, "bin/sh", "sh", "etc/passwd", "root", "manifest.d/x", "x")
	forms := map[string]struct{ file, disk []byte }{
		"docker archive":                 {dockerArchiveOf(t, []string{"a:1"}, want), content(t, want)},
		"docker archive, layers gzipped": {ggcrArchiveOf(t, want), content(t, want)},
		"oci archive":                    {archiveOf(t, layoutOf(t, map[string]v1.Image{"x": want})), content(t, want)},
		"tarball of a root file system":  {rootfs, rootfs},
	}
	for form, tt := range forms {
		for how, pack := range packers {
			t.Run(form+" "+how, func(t *testing.T) {
				file := writeFile(t, filepath.Join(t.TempDir(), "file"), pack(t, tt.file))
				checkImport(t, file, tt.disk)
			})
		}
	}
	t.Run("layout", func(t *testing.T) {
		checkImport(t, layoutOf(t, map[string]v1.Image{"x": want}), content(t, want))
	})
}

// checkImport imports twice, which must give the same image, and resolves it by name.
func checkImport(t *testing.T, file string, disk []byte) {
	t.Helper()
	dir := t.TempDir()
	s := newStore(t, dir)
	first, err := s.Import(t.Context(), "local/thing", file, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Import(t.Context(), "local/thing:latest", file, nil)
	if err != nil || second.Digest != first.Digest {
		t.Errorf("the second import gives %s (%v), not %s", second.Digest, err, first.Digest)
	}
	img, err := s.Pull(t.Context(), "local/thing", platform.Host(), nil)
	if err != nil || img.Digest != first.Digest || img.Reference != "local/thing:latest" {
		t.Fatalf("by name: %+v, %v", img, err)
	}
	wantDisk(t, s, img, disk)
	entries, err := s.List(t.Context())
	if err != nil || len(entries) != 1 || !entries[0].Imported {
		t.Errorf("the store lists %+v, %v", entries, err)
	}
	wantNothingHalf(t, dir)
}

func TestThePlatformOfARootFileSystemIsDetected(t *testing.T) {
	elf := func(machine byte) string {
		return "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00" + string([]byte{machine, 0}) + "rest of the program"
	}
	tests := map[string]struct {
		files []string
		arch  string
	}{
		"x86":             {[]string{"./usr/bin/sh", elf(62)}, "amd64"},
		"arm":             {[]string{"etc/x", elf(62), "bin/script", "#!/bin/sh", "sbin/init", elf(183)}, "arm64"},
		"unknown machine": {[]string{"bin/sh", elf(250)}, runtime.GOARCH},
		"no programs":     {[]string{"etc/passwd", "root"}, runtime.GOARCH},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, filepath.Join(t.TempDir(), "root.tar"), tarOf(t, tt.files...))
			img, err := newStore(t, t.TempDir()).Import(t.Context(), "local/x:1", file, nil)
			if err != nil || img.Platform.Architecture != tt.arch {
				t.Errorf("got %s, %v; want %s", img.Platform, err, tt.arch)
			}
			if img.Created.Unix() != 1700000000 {
				t.Errorf("created %v, want the time of the newest file", img.Created)
			}
		})
	}
}

func TestAnImageOfAnotherPlatformCanBeImportedButNotUsed(t *testing.T) {
	foreign := "arm64"
	if runtime.GOARCH == foreign {
		foreign = "amd64"
	}
	dir := layoutOf(t, map[string]v1.Image{"": imageOf(t, platform.Platform{OS: "linux", Architecture: foreign}, layerOf(t, "a", "b"))})
	s := newStore(t, t.TempDir())
	if _, err := s.Import(t.Context(), "local/foreign:1", dir, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.Resolve(t.Context(), "local/foreign:1", platform.Host(), false)
	wantError(t, err, runtime.GOARCH, "local/foreign:1 is for linux/"+foreign)
}

func TestALocalNameNeverGoesToARegistry(t *testing.T) {
	s := newStore(t, t.TempDir())
	s.transport = refuse{}
	_, err := s.Pull(t.Context(), "local/debian:12", amd64, nil)
	wantError(t, err, "stead image import local/debian:12 FILE", "local/debian:12 not found in the store")
}

func TestAnImportedNameIsNotLookedUpInARegistry(t *testing.T) {
	r, s := newRegistry(t), newStore(t, t.TempDir())
	ref := r.push(t, "app:1", sample(t, "pushed"))
	file := writeFile(t, filepath.Join(t.TempDir(), "root.tar"), tarOf(t, "etc/x", "imported"))
	mine, err := s.Import(t.Context(), ref, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.misbehave(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	if img, err := s.Resolve(t.Context(), ref, mine.Platform, true); err != nil || img.Digest != mine.Digest {
		t.Errorf("got %s, %v; want the imported %s", img.Digest, err, mine.Digest)
	}
}

func TestImportRejectsOtherFiles(t *testing.T) {
	file := func(raw []byte) string { return writeFile(t, filepath.Join(t.TempDir(), "file"), raw) }
	rootfs := tarOf(t, "bin/sh", "sh", "etc/passwd", string(make([]byte, 5000)))
	tests := map[string]struct {
		name, file, hint string
		words            []string
	}{
		"missing file":       {"local/x", "/nowhere.tar", "import a tarball", []string{"/nowhere.tar"}},
		"empty file":         {"local/x", file(nil), "import a tarball", []string{"is not an image"}},
		"text":               {"local/x", file([]byte("hello")), "import a tarball", []string{"is not an image"}},
		"zeros":              {"local/x", file(make([]byte, 4096)), "import a tarball", []string{"contains no files"}},
		"plain directory":    {"local/x", t.TempDir(), "import a tarball", []string{"not an OCI image layout"}},
		"truncated":          {"local/x", file(rootfs[:3000]), "import a tarball", []string{"not a complete tarball"}},
		"truncated gzip":     {"local/x", file(packers["gzip"](t, rootfs)[:60]), "import a tarball", []string{"is not an image"}},
		"bad name":           {"Local X", file(rootfs), "NAME[:TAG]", []string{"Local X"}},
		"a path for a name":  {"oci:/tmp/x", file(rootfs), "NAME[:TAG]", []string{"needs a name and a tag"}},
		"a digest in a name": {"x@sha256:" + digestOf(t, layerOf(t, "a", "b")).Hex, file(rootfs), "NAME[:TAG]", []string{"needs a name and a tag"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := newStore(t, dir).Import(t.Context(), tt.name, tt.file, nil)
			wantError(t, err, tt.hint, tt.words...)
			wantNothingHalf(t, dir)
		})
	}
}

func FuzzImport(f *testing.F) {
	img := imageOf(f, platform.Host(), layerOf(f, "bin/sh", "sh"))
	seeds := [][]byte{
		nil, []byte("BZh9"), tarOf(f, "etc/passwd", "root"), tarOf(f, "manifest.json", "[{}]"),
		tarOf(f, "manifest.json", `[{"Config":"c","Layers":["l"]}]`, "c", `{"rootfs":{"diff_ids":["sha256:00"]}}`, "l", ""),
		tarOf(f, "oci-layout", "{}", "index.json", `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json"}]}`),
		dockerArchiveOf(f, nil, img), archiveOf(f, layoutOf(f, map[string]v1.Image{"": img})),
	}
	for _, s := range seeds {
		f.Add(s)
		f.Add(packers["gzip"](f, s))
		f.Add(packers["zstd"](f, s))
		f.Add(packers["xz"](f, s))
	}
	base := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := New(Options{Dir: filepath.Join(dir, "store"), MakeDisk: concatenate})
		if err != nil {
			t.Fatal(err)
		}
		if img, err := s.Import(t.Context(), "local/x", writeFile(t, filepath.Join(dir, "file"), raw), nil); err == nil {
			if _, err := s.Resolve(t.Context(), "local/x", img.Platform, false); err != nil {
				t.Errorf("imported, but Resolve fails: %v", err)
			}
		}
		wantNothingHalf(t, filepath.Join(dir, "store"))
	})
}
