// Package config turns a machines.hcl into the machines that a project wants.
//
// It knows the language and nothing else: no virtual machine, no registry, no
// state. What leaves it is valid as far as the file alone can tell, so that the
// packages behind it never have to explain a typing mistake. What is wrong is
// reported all at once, each problem at its line: see [Diagnostics].
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/platform"
)

// FileName is what a project file is called.
const FileName = "machines.hcl"

// Project is one project file.
type Project struct {
	Name     string    // as the file says, else the folder's name made valid
	Dir      string    // absolute folder of the file, symbolic links resolved
	File     string    // absolute path of the file
	Machines []Machine // sorted by name
	Moved    []Moved   // in the file's order
}

// Moved says that a machine has another name than before.
type Moved struct {
	From, To string // machines' names
	Pos      Position
}

// Machine is a machine as the file declares it. The zero value of a field means
// that the file leaves it out.
type Machine struct {
	Name           string
	Image          string            // a registry reference, or "oci:", "oci-archive:" or "docker-archive:" and an absolute path
	Build          *Build            // how the image is built; there is either an Image or a Build
	Platform       platform.Platform // of the image, linux/amd64 or linux/arm64
	CPUs           int
	Memory         int64  // bytes, whole MiB
	Disk           int64  // bytes, whole MiB
	Kernel         string // absolute path
	Virtualization bool
	HomeMount      string // "rw", "ro" or "none"
	Services       []string
	Stopped        bool     // state = "stopped": it exists and does not run
	DependsOn      []string // names of machines that are there, and up, before it
	Lifecycle      Lifecycle
	Pos            Position // of the machine's block
}

// Lifecycle says what must not happen to a machine's disk.
type Lifecycle struct {
	PreventDestroy bool // a plan that would lose the disk is refused
	KeepImage      bool // on_image_change = "keep": another image makes no other machine
}

// Build says how a machine's image is built from sources. The zero value of a field
// means that the file leaves it out, except for Context.
type Build struct {
	Context    string // absolute path of the folder; default: the project file's
	Dockerfile string // absolute path
	Target     string
	Args       map[string]string
}

// Position is a line of a project file.
type Position struct {
	File string // as it is shown to the user
	Line int    // from 1
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Load reads and checks a project file. Mistakes in its text are [Diagnostics].
// An empty file is a project without machines.
func Load(file string) (*Project, error) {
	path, err := Path(file)
	if err != nil {
		return nil, err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the project file: %w", err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("project file %s: %w", file, err)
	}
	// A missing home only matters to a file that writes "~/", which is told so.
	home, _ := os.UserHomeDir()
	return parse(src, place{shown: shorten(abs, file), dir: filepath.Dir(path), base: filepath.Base(path), home: home})
}

// Path is the one name of a project file, [Project.File], however its folder was reached:
// machines remember it. The file is not read.
func Path(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("project file %s: %w", file, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("reading the project file: %w", err)
	}
	return hostLookup.stored(filepath.Join(dir, filepath.Base(abs))), nil
}

// shorten names abs the way a user in the working folder would, for messages.
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

// NotFoundError says that there is no project file.
type NotFoundError struct {
	Dir  string // where the search began
	Last string // the last folder that was looked at
}

func (e *NotFoundError) Error() string {
	if e.Dir == e.Last {
		return fmt.Sprintf("there is no %s in %s", FileName, e.Dir)
	}
	return fmt.Sprintf("there is no %s in %s or its parents up to %s", FileName, e.Dir, e.Last)
}

// Remedy says how to go on.
func (e *NotFoundError) Remedy() string {
	return fmt.Sprintf("write a %s, go to the folder that has one, or name it with -f FILE", FileName)
}

// Find returns the absolute path of the project file of dir: the one in dir or
// in its nearest parent, so that commands work from anywhere inside a project.
// The search ends at the user's home folder or, outside of it, at the root.
// Without a project file the error is a [*NotFoundError].
func Find(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", FileName, err)
	}
	home, _ := os.UserHomeDir()
	for at := start; ; at = filepath.Dir(at) {
		file := filepath.Join(at, FileName)
		switch info, err := os.Stat(file); {
		case err == nil && !info.IsDir():
			return file, nil
		case err != nil && !os.IsNotExist(err):
			return "", fmt.Errorf("looking for %s: %w", FileName, err)
		}
		if at == home || at == filepath.Dir(at) {
			return "", &NotFoundError{Dir: start, Last: at}
		}
	}
}
