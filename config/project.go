// Package config reads the machines that a project declares in machines.hcl.
//
// It knows only the language: no virtual machines, no registries, no state. It
// checks everything that the file alone can show, so that other packages need not
// report typing mistakes. It reports all problems at once, each with its line: see
// [Diagnostics].
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// FileName is the name of a project file.
const FileName = "machines.hcl"

// maxFile bounds a project file, in bytes: thousands of machines.
const maxFile = 4 * size.MiB

// Project is one project file.
type Project struct {
	Name     string    // from the file, or else the directory's name made valid
	Dir      string    // absolute directory of the file, symbolic links resolved
	File     string    // absolute path of the file
	Machines []Machine // sorted by name
	Moved    []Move    // in the order of the file
}

// Move is a moved block: it renames a machine.
type Move struct {
	From, To string // machines' names
	Pos      Position
}

// Machine is a machine as the file declares it. A field is zero if the file does not
// set it.
type Machine struct {
	Name           string
	Image          string            // a registry reference, or "oci:", "oci-archive:" or "docker-archive:" with an absolute path
	Build          *Build            // how to build the image; either Image or Build is set
	Platform       platform.Platform // of the image, linux/amd64 or linux/arm64
	CPUs           int
	Memory         int64  // bytes, whole MiB
	Disk           int64  // bytes, whole MiB
	Kernel         string // absolute path
	Virtualization bool
	User           string // the name of the machine's user
	HomeMount      string // "rw", "ro" or "none"
	NoSSHAgent     bool   // ssh_agent = false: sessions cannot use the user's SSH agent
	Services       []string
	Stopped        bool     // state = "stopped": the machine exists but does not run
	DependsOn      []string // names of machines that must run before this one starts
	Lifecycle      Lifecycle
	Pos            Position // of the machine's block
}

// Lifecycle protects a machine's disk.
type Lifecycle struct {
	PreventDestroy bool // refuse a plan that would lose the disk
	KeepImage      bool // on_image_change = "keep": do not replace the machine when its image changes
}

// Build says how to build a machine's image. A field other than Context is zero if the
// file does not set it.
type Build struct {
	Context    string // absolute path of the directory; default: that of the project file
	Dockerfile string // absolute path
	Target     string
	Args       map[string]string

	// The paths above with their symbolic links resolved, each only if it leads out of the
	// directory of the project file. [Load] sets them; they are not arguments.
	OutsideContext    string
	OutsideDockerfile string
}

// Position is a line of a project file.
type Position struct {
	File string // the file's name in messages
	Line int    // from 1
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Load reads and checks a project file. The error for mistakes in its text is [Diagnostics].
// An empty file is a project without machines.
func Load(file string) (*Project, error) {
	path, err := Path(file)
	if err != nil {
		return nil, err
	}
	src, err := regular.ReadFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the project file: %w", err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("project file %s: %w", file, err)
	}
	// An unknown home directory only matters if the file has "~/"; the decoder reports that.
	home, _ := os.UserHomeDir()
	p, err := parse(src, place{shown: shorten(abs, file), dir: filepath.Dir(path), base: filepath.Base(path), home: home})
	if err != nil {
		return nil, err
	}
	for _, m := range p.Machines {
		if m.Build != nil {
			m.Build.OutsideContext = outside(p.Dir, m.Build.Context)
			m.Build.OutsideDockerfile = outsideDockerfile(p.Dir, m.Build)
		}
	}
	return p, nil
}

// outsideDockerfile is outside for the Dockerfile of a build, which may be one of the usual names
// in the context.
func outsideDockerfile(dir string, b *Build) string {
	if b.Dockerfile != "" {
		return outside(dir, b.Dockerfile)
	}
	if b.OutsideContext != "" {
		return "" // which says it already
	}
	for _, name := range []string{"Dockerfile", "Containerfile"} {
		if path := filepath.Join(b.Context, name); exists(path) {
			return outside(dir, path)
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// outside returns where path leads if that is not in dir, else "".
func outside(dir, path string) string {
	if path == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil { // else reading it reports why
		path = real
	}
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		return ""
	}
	return path
}

// Path returns the canonical path of a project file, [Project.File], which is the same
// whatever path leads to its directory. Machines record it. Path does not read the file.
func Path(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("project file %s: %w", file, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("cannot read the project file: %w", err)
	}
	return hostLookup.stored(filepath.Join(dir, filepath.Base(abs))), nil
}

// shorten returns abs relative to the working directory, for messages. If abs is not
// below it, shorten returns given.
func shorten(abs, given string) string {
	cwd, err := os.Getwd()
	if err != nil {
		return given
	}
	rel, err := filepath.Rel(cwd, abs)
	if err != nil || strings.HasPrefix(rel, "..") {
		return given
	}
	return rel
}
