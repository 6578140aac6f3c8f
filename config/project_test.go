package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/platform"
)

var arm64 = platform.Platform{OS: "linux", Architecture: "arm64"}

// parseText parses a file in /proj for a user whose home directory is /home/ada.
func parseText(text string) (*Project, error) {
	return parse([]byte(text), place{shown: "machines.hcl", dir: "/proj", base: FileName, home: "/home/ada"})
}

func TestParseReadsEveryAttribute(t *testing.T) {
	got, err := parseText(`
project = "acme"

machine "web" {
  image = "alpine:3.22"
}

machine "dev" {
  image          = "oci:./images/debian:bookworm"
  platform       = "linux/arm64"
  cpus           = 4
  memory         = "8G"
  disk           = "64G"
  kernel         = "./kernels/vmlinuz"
  virtualization = true
  home_mount     = "ro"
  services       = ["postgresql", "redis-server"]
}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Project{
		Name: "acme", Dir: "/proj", File: "/proj/machines.hcl",
		Machines: []Machine{
			{
				Name: "dev", Image: "oci:/proj/images/debian:bookworm", Platform: arm64, CPUs: 4, Memory: 8 << 30, Disk: 64 << 30,
				Kernel: "/proj/kernels/vmlinuz", Virtualization: true, HomeMount: "ro",
				Services: []string{"postgresql", "redis-server"}, Pos: Position{"machines.hcl", 8},
			},
			{Name: "web", Image: "alpine:3.22", Pos: Position{"machines.hcl", 4}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("project mismatch (-want +got):\n%s", d)
	}
}

func TestParseForms(t *testing.T) {
	const image = `image = "alpine:3.22"`
	machine := func(body string) string { return "machine \"m\" {\n" + image + "\n" + body + "\n}" }
	withImage := func(ref string) string { return `machine "m" { image = "` + ref + `" }` }
	tests := map[string]struct {
		text string
		want Machine
	}{
		"sizes are binary in any case":      {machine(`memory = "2gb"`), Machine{Memory: 2 << 30}},
		"a size may have a space":           {machine(`memory = "2048 MiB"`), Machine{Memory: 2 << 30}},
		"a size without a unit is in bytes": {machine(`disk = "1073741824"`), Machine{Disk: 1 << 30}},
		"a platform may have uname's name":  {machine(`platform = "linux/aarch64"`), Machine{Platform: arm64}},
		"a platform may be the processor":   {machine(`platform = "ARM64"`), Machine{Platform: arm64}},
		"null means not set":                {machine("cpus = null\nmemory = null\nservices = null"), Machine{}},
		"a number may be computed":          {machine(`cpus = 2 * 3`), Machine{CPUs: 6}},
		"a number may be a string":          {machine(`cpus = "4"`), Machine{CPUs: 4}},
		"a list may be computed":            {machine(`services = [for s in ["a", "b"] : "${s}d"]`), Machine{Services: []string{"ad", "bd"}}},
		"a list may be empty":               {machine(`services = []`), Machine{}},
		"unit names may have @ and dots":    {machine(`services = ["getty@tty1.service"]`), Machine{Services: []string{"getty@tty1.service"}}},
		"a kernel may be in the home":       {machine(`kernel = "~/vmlinuz"`), Machine{Kernel: "/home/ada/vmlinuz"}},
		"a kernel may be absolute":          {machine(`kernel = "/boot/../boot/vmlinuz"`), Machine{Kernel: "/boot/vmlinuz"}},
		"an image directory in a parent":    {withImage("oci:../img:a"), Machine{Image: "oci:/img:a"}},
		"a Docker archive in the home":      {withImage("docker-archive:~/i.tar"), Machine{Image: "docker-archive:/home/ada/i.tar"}},
		"an OCI archive":                    {withImage("oci-archive:i.tar"), Machine{Image: "oci-archive:/proj/i.tar"}},
		"an image may have a digest": {
			withImage("debian@sha256:0000000000000000000000000000000000000000000000000000000000000000"),
			Machine{Image: "debian@sha256:0000000000000000000000000000000000000000000000000000000000000000"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := parseText(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Machines[0]
			got.Name, got.Pos = "", Position{}
			if tt.want.Image == "" {
				tt.want.Image = "alpine:3.22"
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("machine mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestParseReadsLifecycleAndMoves(t *testing.T) {
	p, err := parseText(`
machine "db" {
  image = "postgres"
  state = "stopped"
  lifecycle {
    prevent_destroy = true
    on_image_change = "keep"
  }
}
machine "web" {
  image      = "nginx"
  state      = "running"
  depends_on = ["db"]
  lifecycle {
    on_image_change = "replace"
  }
}
moved {
  from = "www"
  to   = "web"
}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Machine{
		{Name: "db", Image: "postgres", Stopped: true, Lifecycle: Lifecycle{PreventDestroy: true, KeepImage: true}, Pos: Position{"machines.hcl", 2}},
		{Name: "web", Image: "nginx", DependsOn: []string{"db"}, Pos: Position{"machines.hcl", 10}},
	}
	if d := cmp.Diff(want, p.Machines); d != "" {
		t.Errorf("machines mismatch (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]Move{{From: "www", To: "web", Pos: Position{"machines.hcl", 18}}}, p.Moved); d != "" {
		t.Errorf("moved mismatch (-want +got):\n%s", d)
	}
}

func TestParseReadsABuild(t *testing.T) {
	tests := map[string]struct {
		block string
		want  Build
	}{
		"an empty block": {`build {}`, Build{Context: "/proj"}},
		"every argument": {
			`build {
				context    = "./images/dev"
				dockerfile = "Dockerfile.dev"
				target     = "tools"
				args       = { VERSION = "1.2", JOBS = 4, DEBUG = true, NONE = null }
			}`,
			Build{
				Context: "/proj/images/dev", Dockerfile: "/proj/images/dev/Dockerfile.dev", Target: "tools",
				Args: map[string]string{"VERSION": "1.2", "JOBS": "4", "DEBUG": "true"},
			},
		},
		"a Dockerfile outside the context": {
			`build {
				dockerfile = "../Dockerfile"
				context    = "~/src"
			}`,
			Build{Context: "/home/ada/src", Dockerfile: "/home/ada/Dockerfile"},
		},
		"an absolute Dockerfile": {`build { dockerfile = "/d" }`, Build{Context: "/proj", Dockerfile: "/d"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := parseText("machine \"m\" {\n" + tt.block + "\n}")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&tt.want, p.Machines[0].Build); d != "" {
				t.Errorf("build mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestProjectNameDefaultsToTheDirectory(t *testing.T) {
	for dir, want := range map[string]string{
		"/src/acme":        "acme",
		"/src/My Project!": "my-project",
		"/src/_x_":         "x",
		"/":                "project",
		"/src/日本":          "project",
	} {
		p, err := parse(nil, place{shown: FileName, dir: dir, base: FileName})
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != want {
			t.Errorf("name of the project in %s = %q, want %q", dir, p.Name, want)
		}
	}
}

func TestUnknownHomeRefusesTilde(t *testing.T) {
	_, err := parse([]byte(`machine "m" {
  image  = "alpine"
  kernel = "~/vmlinuz"
}`), place{shown: FileName, dir: "/proj", base: FileName})
	if err == nil {
		t.Error("parse accepted a path in an unknown home directory")
	}
}

func TestLoadResolvesTheDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, FileName), `machine "m" { image = "oci:./i" }`)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	p, err := Load(filepath.Join(link, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, FileName); p.File != want {
		t.Errorf("File = %s, want %s: a machine's owner must not depend on the path to the directory", p.File, want)
	}
	if want := "oci:" + filepath.Join(dir, "i"); p.Machines[0].Image != want {
		t.Errorf("Image = %s, want %s", p.Machines[0].Image, want)
	}
}

func TestMessagesShowARelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "typo.hcl", "projetc = 1")
	abs, err := filepath.Abs("typo.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"typo.hcl", "./typo.hcl", abs} {
		_, err := Load(file)
		var d Diagnostics
		if !errors.As(err, &d) {
			t.Fatalf("Load(%s) = %v, want Diagnostics", file, err)
		}
		if got := d[0].Pos.String(); got != "typo.hcl:1" {
			t.Errorf("Load(%s) reports %s, want typo.hcl:1", file, got)
		}
	}
}

func TestLoadOfAMissingFileNamesIt(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.hcl"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load = %v, want os.ErrNotExist", err)
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	deep := filepath.Join(home, "src", "acme", "cmd")
	if err := os.MkdirAll(filepath.Join(deep, FileName), 0o700); err != nil { // a directory of that name does not count
		t.Fatal(err)
	}
	_, err := Find(deep)
	var missing *NotFoundError
	if !errors.As(err, &missing) {
		t.Fatalf("Find = %v, want a NotFoundError", err)
	}
	if missing.Dir != deep || missing.Last != home || missing.Remedy() == "" || !strings.Contains(err.Error(), deep) {
		t.Errorf("Find searched from %s to %s, want from %s to the home directory %s", missing.Dir, missing.Last, deep, home)
	}

	want := filepath.Join(home, "src", "acme", FileName)
	write(t, want, "")
	write(t, filepath.Join(home, FileName), "")
	if got, err := Find(deep); err != nil || got != want {
		t.Errorf("Find = %q, %v; want the nearest, %q", got, err, want)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryAttributeIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/machines.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(names(projectAttributes), names(machineAttributes), names(buildAttributes), machineBlocks) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/machines.md does not describe %s", name)
		}
	}
}
