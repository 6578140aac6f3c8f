// Command typecheck type-checks packages for macOS on a host without a Mac, a C compiler or
// Apple's headers.
//
// The driver for macOS uses Virtualization.framework through cgo, so no compiler on such a
// host can compile it. The Go type checker can check it: it accepts every name of C
// (FakeImportC) and checks everything else, for both architectures, against the source of
// the library that a Mac compiles.
//
//	typecheck [-arch arm64,amd64] [-overlay FILE] PACKAGES
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	archs := flag.String("arch", "arm64,amd64", "`architectures` of the Macs")
	overlay := flag.String("overlay", "", "JSON `file` that replaces source files, as for go build -overlay")
	flag.Parse()
	failed := false
	for _, arch := range strings.Split(*archs, ",") {
		if err := check(arch, *overlay, flag.Args()); err != nil {
			failed = true
			for line := range strings.Lines(err.Error()) {
				fmt.Fprintf(os.Stderr, "darwin/%s: %s\n", arch, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

// fields are the fields of listedPackage: go list is faster without the others.
const fields = "Dir,ImportPath,DepOnly,GoFiles,CgoFiles,ImportMap,Module,Error"

// listedPackage is go list's description of a package.
type listedPackage struct {
	Dir, ImportPath   string
	DepOnly           bool // not named, but imported by a named package
	GoFiles, CgoFiles []string
	ImportMap         map[string]string
	Module            struct{ GoVersion string }
	Error             *struct{ Err string }
}

// checker checks packages in the order of their dependencies.
type checker struct {
	arch     string
	replaced map[string]string // replacements of source files, by the path of the original
	files    *token.FileSet
	done     map[string]*types.Package
	problems []error
}

// check reports every problem of the packages and their tests.
func check(arch, overlay string, patterns []string) error {
	c := checker{arch: arch, files: token.NewFileSet(), done: map[string]*types.Package{"unsafe": types.Unsafe}}
	var err error
	if c.replaced, err = readOverlay(overlay); err != nil {
		return err
	}
	list := exec.Command("go", append([]string{"list", "-e", "-deps", "-test", "-json=" + fields, "-overlay=" + overlay, "--"}, patterns...)...)
	list.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=1")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		return err
	}
	if err := list.Start(); err != nil {
		return err
	}
	own, err := c.packages(json.NewDecoder(out))
	if err == nil && own == 0 {
		err = errors.New("found no package")
	}
	_, drainErr := io.Copy(io.Discard, out) // so that go list can exit
	return errors.Join(append(c.problems, err, drainErr, list.Wait())...)
}

func readOverlay(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return overlay.Replace, nil
}

// packages checks the packages that go list lists, imports before importers. It returns the
// number of named packages.
func (c *checker) packages(list *json.Decoder) (own int, err error) {
	for {
		var p listedPackage
		switch err := list.Decode(&p); {
		case errors.Is(err, io.EOF):
			return own, nil
		case err != nil:
			return own, fmt.Errorf("go list: %w", err)
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") {
			continue // built in; made by go test
		}
		if !p.DepOnly {
			own++
		}
		c.check(p)
	}
}

func (c *checker) report(err error) { c.problems = append(c.problems, err) }

// check checks one package: all of a named package, only the declarations of others.
func (c *checker) check(p listedPackage) {
	if p.Error != nil {
		c.report(fmt.Errorf("%s: %s", p.ImportPath, p.Error.Err))
	}
	conf := types.Config{
		FakeImportC: true, IgnoreFuncBodies: p.DepOnly, Error: c.report,
		Sizes: types.SizesFor("gc", c.arch),
		Importer: importer(func(path string) (*types.Package, error) {
			if found := c.done[cmp.Or(p.ImportMap[path], path)]; found != nil {
				return found, nil
			}
			return nil, fmt.Errorf("go list did not list %s before %s", path, p.ImportPath)
		}),
	}
	if p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	// conf.Error has reported the errors one by one.
	c.done[p.ImportPath], _ = conf.Check(p.ImportPath, c.files, c.parse(p), nil)
}

func (c *checker) parse(p listedPackage) []*ast.File {
	var parsed []*ast.File
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
		path := filepath.Join(p.Dir, name)
		text, err := os.ReadFile(cmp.Or(c.replaced[path], path))
		if err != nil {
			c.report(err)
			continue
		}
		f, err := parser.ParseFile(c.files, path, text, parser.SkipObjectResolution)
		if err != nil {
			c.report(err)
			continue
		}
		parsed = append(parsed, f)
	}
	return parsed
}

// importer is a function that implements [types.Importer].
type importer func(path string) (*types.Package, error)

// Import implements [types.Importer].
func (i importer) Import(path string) (*types.Package, error) { return i(path) }
