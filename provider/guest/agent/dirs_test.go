//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDirectoriesAreMadeThroughLinks(t *testing.T) {
	for name, c := range map[string]struct {
		links map[string]string // path to target
		path  string
		want  string // the directory that exists then
	}{
		"no link":              {nil, "/home/me", "home/me"},
		"a relative link":      {map[string]string{"home": "var/home"}, "/home/me", "var/home/me"},
		"an absolute link":     {map[string]string{"home": "/var/home"}, "/home/me", "var/home/me"},
		"a link up":            {map[string]string{"usr/local": "../var/usrlocal"}, "/usr/local/bin", "var/usrlocal/bin"},
		"a link above the top": {map[string]string{"home": "../../../var/home"}, "/home/me", "var/home/me"},
		"a link to a link":     {map[string]string{"home": "users", "users": "var/home"}, "/home/me", "var/home/me"},
		"a link at the end":    {map[string]string{"home/me": "../var/me"}, "/home/me", "var/me"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, target := range c.links {
				path = filepath.Join(root, path)
				if err := firstError(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := makeDirs(root, c.path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if info, err := os.Lstat(filepath.Join(root, c.want)); err != nil || !info.IsDir() {
				t.Errorf("%s: %v, %v", c.want, info, err)
			}
		})
	}
	root := t.TempDir()
	if err := firstError(os.Symlink("b", root+"/a"), os.Symlink("a", root+"/b"), os.WriteFile(root+"/file", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a/x", "/file", "/file/x"} {
		if err := makeDirs(root, path, 0o755); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}

func TestLinksOfTheRootAreCompleted(t *testing.T) {
	root := t.TempDir()
	if err := firstError(
		os.Mkdir(root+"/usr", 0o755), os.WriteFile(root+"/usr/vmlinuz", nil, 0o644),
		os.Symlink("var/roothome", root+"/root"), os.Symlink("usr/vmlinuz", root+"/vmlinuz"), os.Symlink("usr", root+"/lib"),
	); err != nil {
		t.Fatal(err)
	}
	if err := completeLinks(root); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(root + "/var/roothome"); err != nil || !info.IsDir() {
		t.Errorf("/root leads to %v, %v", info, err)
	}
}
