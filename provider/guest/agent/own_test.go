//go:build linux

package agent

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFilesThatTheUserHasChangedAreTheUsers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string) error
		want   string
		mine   bool
	}{
		"unchanged": {func(string) error { return nil }, "second", true},
		"removed":   {os.Remove, "second", true},
		"edited":    {func(path string) error { return os.WriteFile(path, []byte("the user's"), 0o644) }, "the user's", false},
		"a link": {func(path string) error {
			other := path + ".other"
			return firstError(os.WriteFile(other, []byte("another's"), 0o644), os.Remove(path), os.Symlink(other, path))
		}, "another's", false},
		"the record is lost": {func(path string) error {
			return firstError(os.WriteFile(path, []byte("the user's"), 0o644), os.Remove(filepath.Join(filepath.Dir(path), "record")))
		}, "second", true},
		"the record is damaged": {func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), "record"), []byte("{"), 0o644)
		}, "second", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			o := &ownFiles{record: filepath.Join(dir, "record")}
			if err := os.WriteFile(path, []byte("the image's"), 0o644); err != nil {
				t.Fatal(err)
			}
			if mine, err := o.write(path, "first", 0o644); err != nil || !mine {
				t.Fatalf("the image's file was kept: %v, %v", mine, err)
			}
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			mine, err := o.write(path, "second", 0o644)
			if err != nil || mine != c.mine {
				t.Errorf("the agent's: %v, want %v; %v", mine, c.mine, err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != c.want {
				t.Errorf("the file is %q, want %q; %v", got, c.want, err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.stead-new")); len(left) > 0 {
				t.Errorf("%q are left", left)
			}
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
