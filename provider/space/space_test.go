package space

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestInAddsUpSizeAndBlocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, holes := range map[string]int64{"a": 0, "sub/b": 1 << 30} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 4096+holes); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s, files, err := In(dir)
	if err != nil || files != 2 || s.Size != 2*4096+1<<30 || s.Real >= 1<<20 {
		t.Errorf("got %+v in %d files, %v", s, files, err)
	}
	if s, files, err := In(filepath.Join(dir, "missing")); err != nil || files != 0 || s != (Space{}) {
		t.Errorf("a missing directory takes %+v in %d files, %v", s, files, err)
	}
}

func TestExplainNamesAFullDiskOnce(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		err := Explain(&fs.PathError{Op: "write", Path: "/state/x", Err: cause}, "/state")
		var full *FullError
		if !errors.As(err, &full) || full.Dir != "/state" || !strings.Contains(full.Remedy(), "stead df") {
			t.Errorf("got %v", err)
		}
		outer := fmt.Errorf("create: %w", err)
		if again := Explain(outer, "/other"); again != outer { //nolint:errorlint // the same error
			t.Errorf("explained twice: %v", again)
		}
	}
	if err := errors.New("another"); Explain(err, "/state") != err { //nolint:errorlint // the same error
		t.Error("another error became a full disk")
	}
	if Explain(nil, "/state") != nil {
		t.Error("no error became one")
	}
}
