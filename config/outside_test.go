package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestLoadFindsSourcesOutsideOfTheProject(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	proj, other := filepath.Join(root, "proj"), filepath.Join(root, "other")
	for _, dir := range []string{filepath.Join(proj, "image"), filepath.Join(proj, "app"), other, filepath.Join(root, "proj2")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link": other, "alias": "image", "image/D": filepath.Join(other, "D"), "app/Dockerfile": filepath.Join(other, "D")} {
		if err := os.Symlink(target, filepath.Join(proj, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "D"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ block, context, dockerfile string }{
		"the project's directory":        {},
		"a directory of the project":     {block: `context = "image"`},
		"a link within the project":      {block: `context = "alias"`},
		"a parent's directory":           {block: `context = "../other"`, context: other},
		"a parent":                       {block: `context = ".."`, context: root},
		"a directory with a longer name": {block: `context = "../proj2"`, context: filepath.Join(root, "proj2")},
		"a link out of the project":      {block: `context = "link"`, context: other},
		"a directory that is missing":    {block: `context = "../none"`, context: filepath.Join(root, "none")},
		"a Dockerfile outside":           {block: `dockerfile = "../other/D"`, dockerfile: filepath.Join(other, "D")},
		"a link to a Dockerfile outside": {block: `dockerfile = "image/D"`, dockerfile: filepath.Join(other, "D")},
		"a usual name that is a link":    {block: `context = "app"`, dockerfile: filepath.Join(other, "D")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(proj, FileName)
			text := fmt.Sprintf("machine \"m\" {\n build {\n%s\n}\n}\n", tt.block)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			p, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if b := p.Machines[0].Build; b.OutsideContext != tt.context || b.OutsideDockerfile != tt.dockerfile {
				t.Errorf("outside are %q and %q, want %q and %q", b.OutsideContext, b.OutsideDockerfile, tt.context, tt.dockerfile)
			}
		})
	}
}
