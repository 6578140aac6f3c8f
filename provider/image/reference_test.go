package image

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReferencesInFull(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"layout", "with:colon"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	tests := map[string]struct {
		in, full string
		kind     kind
	}{
		"a bare name is on docker.io":       {"debian", "docker.io/library/debian:latest", inRegistry},
		"a tag is kept":                     {"debian:12", "docker.io/library/debian:12", inRegistry},
		"docker.io by name":                 {"docker.io/team/app:1", "docker.io/team/app:1", inRegistry},
		"another registry":                  {"ghcr.io/owner/app:1", "ghcr.io/owner/app:1", inRegistry},
		"a registry with a port":            {"localhost:5000/app", "localhost:5000/app:latest", inRegistry},
		"a digest":                          {"debian@" + digest, "docker.io/library/debian@" + digest, inRegistry},
		"a tag and a digest":                {"debian:12@" + digest, "docker.io/library/debian@" + digest, inRegistry},
		"local names belong to no registry": {"local/debian:12", "local/debian:12", inStore},
		"local names have a tag":            {"local/debian", "local/debian:latest", inStore},
		"a layout":                          {"oci:" + dir + "/layout", "oci:" + dir + "/layout", inLayout},
		"a layout's tag":                    {"oci:" + dir + "/layout:v1", "oci:" + dir + "/layout:v1", inLayout},
		"relative to the working directory": {"oci:layout:v1", "oci:" + dir + "/layout:v1", inLayout},
		"a colon that belongs to the path":  {"oci:with:colon", "oci:" + dir + "/with:colon", inLayout},
		"a colon in path and before tag":    {"oci:with:colon:v1", "oci:" + dir + "/with:colon:v1", inLayout},
		"a missing path":                    {"oci:/nowhere:v1", "oci:/nowhere:v1", inLayout},
		"a name in a docker archive": {
			"docker-archive:/nowhere.tar:docker.io/team/app:1",
			"docker-archive:/nowhere.tar:docker.io/team/app:1", inDockerArchive,
		},
		"an oci archive": {"oci-archive:/nowhere.tar:v1", "oci-archive:/nowhere.tar:v1", inOCIArchive},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parseReference(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tt.full || r.kind != tt.kind {
				t.Errorf("%s is %s of kind %d, want %s of kind %d", tt.in, r, r.kind, tt.full, tt.kind)
			}
			again, err := parseReference(r.String())
			if err != nil || again.String() != tt.full {
				t.Errorf("the full form parses as %s, %v", again, err)
			}
		})
	}
}

func TestFileOf(t *testing.T) {
	dir := t.TempDir()
	for in, want := range map[string]string{
		"debian:12":                          "",
		"local/debian:12":                    "",
		"no reference":                       "",
		"oci:" + dir + ":v1":                 filepath.Join(dir, "index.json"),
		"oci-archive:/nowhere.tar:v1":        "/nowhere.tar",
		"docker-archive:/nowhere.tar:team/a": "/nowhere.tar",
	} {
		if got := FileOf(in); got != want {
			t.Errorf("FileOf(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestInvalidReferences(t *testing.T) {
	for _, in := range []string{"", "Debian:12", "debian:", "debian@sha256:123", "oci:", "oci::tag", "docker-archive:", "a b", "https://example.org/x", "/srv/image", "./image:v1", "../image", "."} {
		if r, err := parseReference(in); err == nil {
			t.Errorf("%q parses as %s", in, r)
		} else {
			wantError(t, err, "oci:DIR[:TAG]", "image reference")
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"debian", "oci:a:b", "x@sha256:", "docker-archive::", "local/", ":::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := parseReference(in)
		if err != nil {
			return
		}
		if r.name == nil && !filepath.IsAbs(r.path) {
			t.Errorf("%q has the path %q", in, r.path)
		}
		if r.String() == "" {
			t.Errorf("%q has no full form", in)
		}
	})
}

func TestAbsoluteReferences(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	here, err := os.Getwd() // the path may contain symlinks
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"debian:12":                 "debian:12",
		"local/dev:1":               "local/dev:1",
		"oci:./image:tag":           "oci:" + here + "/image:tag",
		"oci-archive:../i.tar":      "oci-archive:" + filepath.Join(here, "../i.tar"),
		"docker-archive:/i.tar:a:b": "docker-archive:/i.tar:a:b",
		"oci:":                      "oci:",
	} {
		if got, err := Absolute(ref); got != want || err != nil {
			t.Errorf("Absolute(%q) = %q, %v; want %q", ref, got, err, want)
		}
	}
}
