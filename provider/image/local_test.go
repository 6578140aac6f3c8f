package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// layoutOf writes an OCI layout of images by their tag.
func layoutOf(t testing.TB, tagged map[string]v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for tag, img := range tagged {
		var o []layout.Option
		if tag != "" {
			o = append(o, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag}))
		}
		if err := l.AppendImage(img, o...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// archiveOf packs a directory as "tar -C dir -c ." does.
func archiveOf(t testing.TB, dir string) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := tw.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// dockerArchiveOf returns an archive as old versions of "docker save" wrote it: uncompressed
// layers, each in a directory, and a symbolic link for a repeated layer.
func dockerArchiveOf(t testing.TB, tags []string, img v1.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	add := func(name string, raw []byte) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(raw))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(raw); err != nil {
			t.Fatal(err)
		}
	}
	entry := dockerEntry{Config: "config.json", RepoTags: tags}
	for _, l := range layersOf(t, img) {
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		id := digestOf(t, l).Hex
		add(id+"/real.tar", raw)
		link := &tar.Header{Typeflag: tar.TypeSymlink, Name: id + "/layer.tar", Linkname: "../" + id + "/real.tar"}
		if err := tw.WriteHeader(link); err != nil {
			t.Fatal(err)
		}
		entry.Layers = append(entry.Layers, id+"/layer.tar")
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	add("config.json", config)
	manifest, err := json.Marshal([]dockerEntry{entry})
	if err != nil {
		t.Fatal(err)
	}
	add("manifest.json", manifest)
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// ggcrArchiveOf returns an archive as crane writes it, with compressed layers.
func ggcrArchiveOf(t testing.TB, img v1.Image) []byte {
	t.Helper()
	tag, err := name.NewTag("team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := tarball.Write(tag, img, &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// packers compress in every supported format.
var packers = map[string]func(testing.TB, []byte) []byte{
	"plain": func(_ testing.TB, raw []byte) []byte { return raw },
	"gzip": func(t testing.TB, raw []byte) []byte {
		return packed(t, raw, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	},
	"zstd": func(t testing.TB, raw []byte) []byte {
		return packed(t, raw, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	},
	"xz": func(t testing.TB, raw []byte) []byte {
		return packed(t, raw, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	},
	"bzip2": func(t testing.TB, raw []byte) []byte {
		if _, err := exec.LookPath("bzip2"); err != nil {
			t.Skip("needs bzip2, for Go's standard library only reads that format")
		}
		cmd := exec.Command("bzip2")
		cmd.Stdin = bytes.NewReader(raw)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	},
}

func packed(t testing.TB, raw []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := open(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestAnImageInAFileIsPulled(t *testing.T) {
	want := sample(t, "one")
	dir := layoutOf(t, map[string]v1.Image{"v1": want, "v2": sample(t, "two")})
	files := map[string][]byte{
		"oci-archive:%:v1":                            archiveOf(t, dir),
		"docker-archive:%:team/app:1":                 dockerArchiveOf(t, []string{"team/app:0", "docker.io/team/app:1"}, want),
		"docker-archive:%":                            dockerArchiveOf(t, nil, want),
		"docker-archive:%:index.docker.io/team/app:1": ggcrArchiveOf(t, want),
	}
	for ref, raw := range files {
		for how, pack := range packers {
			t.Run(ref+" "+how, func(t *testing.T) {
				file := writeFile(t, filepath.Join(t.TempDir(), "image"), pack(t, raw))
				checkPull(t, replacePercent(ref, file), want)
			})
		}
	}
	t.Run("oci", func(t *testing.T) { checkPull(t, "oci:"+dir+":v1", want) })
	t.Run("oci without a tag", func(t *testing.T) {
		checkPull(t, "oci:"+layoutOf(t, map[string]v1.Image{"": want}), want)
	})
}

// checkPull resolves and pulls twice and makes a disk.
func checkPull(t *testing.T, ref string, want v1.Image) {
	t.Helper()
	dir := t.TempDir()
	s := newStore(t, dir)
	first, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		img, err := s.Pull(t.Context(), ref, amd64, nil)
		if err != nil {
			t.Fatal(err)
		}
		if img.Digest != first.Digest || img.Reference != ref || img.Config.StopSignal != "SIGRTMIN+3" {
			t.Errorf("pulled %+v, resolved %s before", img, first.Digest)
		}
		wantDisk(t, s, img, content(t, want))
	}
	wantNothingHalf(t, dir)
}

func replacePercent(s, by string) string {
	return string(bytes.ReplaceAll([]byte(s), []byte("%"), []byte(by)))
}

func TestAFileIsReadEachTime(t *testing.T) {
	dir := layoutOf(t, map[string]v1.Image{"": sample(t, "one")})
	s := newStore(t, t.TempDir())
	ref := "oci:" + dir
	one, err := s.Pull(t.Context(), ref, amd64, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(layoutOf(t, map[string]v1.Image{"": sample(t, "two")}), dir); err != nil {
		t.Fatal(err)
	}
	two, err := s.Resolve(t.Context(), ref, amd64, false)
	if err != nil || two.Digest == one.Digest {
		t.Errorf("after the layout changed, it still resolves to %s (%v)", two.Digest, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err = s.Fetch(t.Context(), two, nil)
	wantError(t, err, "check the path", ref)
	if _, err := s.Fetch(t.Context(), one, nil); err != nil {
		t.Errorf("an image in the store should not need its file: %v", err)
	}
}

func TestFetchRejectsAFileThatHasChangedSinceThePlan(t *testing.T) {
	dir := layoutOf(t, map[string]v1.Image{"": sample(t, "one")})
	s := newStore(t, t.TempDir())
	img, err := s.Resolve(t.Context(), "oci:"+dir, amd64, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(layoutOf(t, map[string]v1.Image{"": sample(t, "two")}), dir); err != nil {
		t.Fatal(err)
	}
	_, err = s.Fetch(t.Context(), img, nil)
	wantError(t, err, "run the command again", img.Digest)
}

func TestBadFilesAreNamed(t *testing.T) {
	one := sample(t, "one")
	two := map[string]v1.Image{"v1": one, "v2": sample(t, "two")}
	damaged := func(change func(path string)) string {
		dir := layoutOf(t, map[string]v1.Image{"": one})
		change(blobFile(dir, digestOf(t, layersOf(t, one)[0])))
		return dir
	}
	file := func(raw []byte) string { return writeFile(t, filepath.Join(t.TempDir(), "file"), raw) }
	saved := dockerArchiveOf(t, []string{"a:1"}, one)
	layer := digestOf(t, layersOf(t, one)[0]).String()

	tests := map[string]struct {
		ref   string
		hint  string
		words []string
	}{
		"missing directory": {"oci:/nowhere/at/all:v1", "check the path", []string{"/nowhere/at/all"}},
		"no layout":         {"oci:" + t.TempDir(), "check the path", []string{"not an OCI image layout"}},
		"missing tag":       {"oci:" + layoutOf(t, two) + ":v3", "v1", []string{"v3", "not found in"}},
		"tag left out":      {"oci:" + layoutOf(t, two), "v2", []string{"matches 2 images"}},
		"missing archive":   {"docker-archive:/nowhere.tar", "check the path", []string{"/nowhere.tar"}},
		"missing name in archive": {
			"docker-archive:" + file(saved) + ":b:1", "a:1", []string{"b:1", "not found in"},
		},
		"not an archive":                     {"docker-archive:" + file([]byte("junk")), "", []string{"not a complete tarball"}},
		"another archive":                    {"docker-archive:" + file(tarOf(t, "etc/passwd", "x")), "", []string{"docker save", "manifest.json"}},
		"truncated archive":                  {"docker-archive:" + file(saved[:len(saved)/2]), "", []string{"not a complete tarball"}},
		"truncated gzip":                     {"oci-archive:" + file(packers["gzip"](t, saved)[:500]), "", []string{"unexpected EOF"}},
		"blob missing":                       {"oci:" + damaged(func(p string) { _ = os.Remove(p) }), "", []string{layer, "no such file"}},
		"blob tampered":                      {"oci:" + damaged(func(p string) { flip(t, p) }), "no part of the blob was kept", []string{layer, "has the digest"}},
		"blob truncated":                     {"oci:" + damaged(func(p string) { _ = os.Truncate(p, 10) }), "no part of the blob was kept", []string{layer, "truncated: 10 bytes"}},
		"layer that differs from the config": {"docker-archive:" + file(bytes.ReplaceAll(saved, []byte("one sh"), []byte("two sh"))), "", []string{"has the digest"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := newStore(t, dir).Pull(t.Context(), tt.ref, amd64, nil)
			wantError(t, err, tt.hint, tt.words...)
			wantNothingHalf(t, dir)
		})
	}
}

// flip changes one bit in the middle of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestThePlatformIsChosenFromALayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendIndex(multiArch(t, platforms("linux/arm64", "linux/amd64")...)); err != nil {
		t.Fatal(err)
	}
	img, err := newStore(t, t.TempDir()).Pull(t.Context(), "oci:"+dir, amd64, nil)
	if err != nil || img.Platform != amd64 {
		t.Errorf("got %s, %v", img.Platform, err)
	}
	_, err = newStore(t, t.TempDir()).Pull(t.Context(), "oci:"+dir, platforms("linux/riscv64")[0], nil)
	wantError(t, err, "linux/riscv64", "is for linux/arm64, linux/amd64, not for linux/riscv64")
}
