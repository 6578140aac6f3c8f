// Command stub creates what vet, staticcheck and the linker need to check the packages for
// macOS on another host: a copy of github.com/Code-Hex/vz with its declarations, but without
// C and without the bodies of functions.
//
// It is created from the library's source at every run, so that it cannot differ from what a
// Mac compiles, and it stays outside of the repository. A go.work beside it, for GOWORK, is
// our module with the library replaced.
//
//	stub DIRECTORY
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// library is the module that only a Mac compiles.
const library = "github.com/Code-Hex/vz/v3"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stub DIRECTORY")
		os.Exit(2)
	}
	if err := make(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "stub:", err)
		os.Exit(1)
	}
}

// make replaces the contents of the directory.
func make(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	source, err := goSays("list", "-m", "-f", "{{.Dir}}", library)
	if err != nil {
		return err
	}
	if source == "" {
		return errors.New(library + " is not downloaded: run go mod download")
	}
	target := filepath.Join(dir, "vz")
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	for _, pkg := range []string{".", "internal/objc", "internal/progress", "internal/sliceutil"} {
		if err := stubPackage(filepath.Join(source, pkg), filepath.Join(target, pkg)); err != nil {
			return fmt.Errorf("%s/%s: %w", library, pkg, err)
		}
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(target, "go.mod"), mod, 0o644); err != nil {
		return err
	}
	return writeWorkspace(dir, target)
}

// writeWorkspace writes a workspace of our module and the stub.
func writeWorkspace(dir, target string) error {
	ours, err := goSays("list", "-m", "-f", "{{.Dir}}\n{{.GoVersion}}")
	if err != nil {
		return err
	}
	root, version, _ := strings.Cut(ours, "\n")
	text := fmt.Sprintf("go %s\n\nuse %q\n\nreplace %s => %q\n", version, root, library, target)
	return os.WriteFile(filepath.Join(dir, "go.work"), []byte(text), 0o644)
}

// goSays runs the go command and returns what it prints.
func goSays(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
