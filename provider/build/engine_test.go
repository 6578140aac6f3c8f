package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestRealBuilders builds with each builder that runs without a daemon.
func TestRealBuilders(t *testing.T) {
	for _, program := range []string{"buildah", "podman"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("%s is not installed; .ci/packages installs buildah", program)
			}
			ownStorage(t)
			engine, err := Find(t.Context(), program)
			must(t, err)
			s := sources(t)
			s.Known = []Base{{Name: "local/base:latest", Digest: "sha256:1", Layout: baseLayout(t), Tag: "image"}}
			s.Args = map[string]string{"WORD": "two words"}
			s.Target = "wanted"
			write(t, s.Context, "Dockerfile.dockerignore", "notes")
			write(t, s.Context, "Dockerfile", `FROM local/base AS wanted
ARG WORD
ENV WORD=$WORD
COPY . /src
FROM scratch
COPY src /other
`)
			out := filepath.Join(t.TempDir(), "image")
			var lines []string
			must(t, engine.Build(t.Context(), s, out, func(l string) { lines = append(lines, l) }))
			img := readArchive(t, out)
			config, err := img.ConfigFile()
			must(t, err)
			if !slices.Contains(config.Config.Env, "WORD=two words") || !slices.Contains(config.Config.Env, "BASE=yes") {
				t.Errorf("the image's environment is %q", config.Config.Env)
			}
			files := filesOf(t, img)
			for name, want := range map[string]bool{"src/src/main.c": true, "src/notes/todo": false, "other/main.c": false} {
				if slices.Contains(files, name) != want {
					t.Errorf("%s in the image: want %t; it has %q", name, want, files)
				}
			}
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "COPY") }) {
				t.Errorf("the builder's steps were not reported: %q", lines)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "build-*")); err != nil || len(left) > 0 {
				t.Errorf("scratch files were not removed: %v, %v", left, err)
			}
		})
	}
}

func TestTheOutputOfAFailedBuilderIsReported(t *testing.T) {
	program := "buildah"
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("buildah is not installed; .ci/packages installs it")
	}
	ownStorage(t)
	engine, err := Find(t.Context(), program)
	must(t, err)
	s := sources(t)
	write(t, s.Context, "Dockerfile", "FROM scratch\nCOPY nothing-of-this-name /\n")
	err = engine.Build(t.Context(), s, filepath.Join(t.TempDir(), "image"), func(string) {})
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "nothing-of-this-name") || failed.Remedy() == "" {
		t.Errorf("Build = %v, want the builder's output", err)
	}
}

// ownStorage makes podman and buildah keep their images in a directory of the test.
func ownStorage(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", dir+"/graph", dir+"/run")
	write(t, dir, "storage.conf", conf)
	t.Setenv("CONTAINERS_STORAGE_CONF", filepath.Join(dir, "storage.conf"))
}

// baseLayout writes an image for FROM.
func baseLayout(t *testing.T) string {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Env: []string{"BASE=yes"}}})
	must(t, err)
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	must(t, err)
	must(t, p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "image"})))
	return dir
}

// readArchive reads the one image of an OCI archive.
func readArchive(t *testing.T, file string) v1.Image {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", file, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("not an archive: %v\n%s", err, out)
	}
	index, err := layout.ImageIndexFromPath(dir)
	must(t, err)
	m, err := index.IndexManifest()
	must(t, err)
	if len(m.Manifests) != 1 {
		t.Fatalf("the archive has %d images", len(m.Manifests))
	}
	img, err := index.Image(m.Manifests[0].Digest)
	must(t, err)
	return img
}

func filesOf(t *testing.T, img v1.Image) (names []string) {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	for _, l := range layers {
		rc, err := l.Uncompressed()
		must(t, err)
		for tr := tar.NewReader(rc); ; {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			must(t, err)
			names = append(names, strings.TrimSuffix(h.Name, "/"))
		}
		must(t, rc.Close())
	}
	return names
}

// TestCommandLines pins the command lines of builders that cannot run here.
func TestCommandLines(t *testing.T) {
	for name, tt := range map[string]struct {
		program string
		prints  string // the stand-in's output for "inspect" and "status"
		want    []string
	}{
		"docker with a builder of its own": {"docker", "Name: x\nDriver:   docker-container", []string{
			"buildx build --progress plain --platform linux/amd64 --file CTX/Dockerfile --target dev --build-arg A=1 " +
				"--build-context local/base:latest=oci-layout:///base:image --build-context local/base=oci-layout:///base:image " +
				"--output type=oci,compression=uncompressed,dest=OUT CTX",
		}},
		"docker's daemon": {"docker", "Name: x\nDriver: docker", []string{
			"buildx build --progress plain --platform linux/amd64 --file CTX/Dockerfile --target dev --build-arg A=1 " +
				"--build-context local/base:latest=oci-layout:///base:image --build-context local/base=oci-layout:///base:image " +
				"--load --iidfile ID CTX",
			"image save --output OUT sha256:made",
		}},
		"Apple's container": {"container", "", []string{
			"build --progress plain --platform linux/amd64 --file CTX/Dockerfile --target dev --build-arg A=1 --output type=oci,dest=OUT CTX",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			log := standIn(t, tt.program, tt.prints)
			engine, err := Find(t.Context(), tt.program)
			must(t, err)
			s := sources(t)
			s.Target, s.Args = "dev", map[string]string{"A": "1"}
			s.Known[0].Layout, s.Known[0].Tag = "/base", "image"
			out := filepath.Join(t.TempDir(), "out")
			must(t, engine.Build(t.Context(), s, out, func(string) {}))
			text, err := os.ReadFile(log)
			must(t, err)
			var got []string
			for line := range strings.Lines(string(text)) {
				line = strings.NewReplacer(s.Context, "CTX", out, "OUT").Replace(strings.TrimSpace(line))
				words := strings.Fields(line)
				if i := slices.Index(words, "--iidfile"); i >= 0 {
					words[i+1] = "ID"
				}
				if !slices.Contains(words, "inspect") && !slices.Contains(words, "status") {
					got = append(got, strings.Join(words, " "))
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("the command lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// standIn adds a program to PATH that logs its arguments, and returns the path of the log.
func standIn(t *testing.T, program, prints string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >>%s
case "$*" in *inspect*|*status*) cat <<'END'
%s
END
esac
while [ $# -gt 0 ]; do
	[ "$1" != --iidfile ] || echo sha256:made >"$2"
	shift
done
`, log, prints)
	write(t, dir, program, script)
	must(t, os.Chmod(filepath.Join(dir, program), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return log
}

func TestWithoutABuilderTheErrorNamesAll(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Find(t.Context(), "")
	var none *NoEngineError
	if !errors.As(err, &none) {
		t.Fatalf("Find = %v, want a NoEngineError", err)
	}
	for _, name := range []string{"docker", "podman", "buildah", "Apple's container"} {
		if !strings.Contains(err.Error(), name) || !strings.Contains(none.Remedy(), name) {
			t.Errorf("%s is missing in %q, %q", name, err, none.Remedy())
		}
	}
}

func TestABuilderThatIsNotReadyIsSkipped(t *testing.T) {
	dir := t.TempDir()
	for program, script := range map[string]string{
		"docker":  "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n",
		"buildah": "#!/bin/sh\n",
	} {
		write(t, dir, program, script)
		must(t, os.Chmod(filepath.Join(dir, program), 0o755))
	}
	t.Setenv("PATH", dir)
	engine, err := Find(t.Context(), "")
	if err != nil || engine.String() != "buildah" {
		t.Errorf("Find = %v, %v; want buildah", engine, err)
	}
	_, err = Find(t.Context(), "docker")
	var none *NoEngineError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "Cannot connect") || !strings.Contains(none.Remedy(), "start") {
		t.Errorf("Find(docker) = %v, want docker's message and a hint to start it", err)
	}
}

func TestTheEndOfALongOutputIsKept(t *testing.T) {
	told := 0
	keep := &tail{tell: func(string) { told++ }}
	for i := range 100 {
		fmt.Fprintf(keep, "line %d\r", i)
	}
	fmt.Fprint(keep, "the en")
	fmt.Fprint(keep, "d")
	got := strings.Split(keep.String(), "\n")
	if told != 100 || len(got) != tailLines+1 || got[0] != "line 75" || got[tailLines] != "the end" {
		t.Errorf("reported %d lines, kept %q", told, got)
	}
}
