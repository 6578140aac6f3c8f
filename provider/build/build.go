// Package build turns a Dockerfile into an image with a builder that the host has.
//
// Building is somebody else's trade: people have docker, podman, buildah or Apple's
// container, with their caches and credentials. What is kept here is when to build. An
// image is known by a key made of all that goes into it, so that a machine's image
// changes with its sources, and nothing is built twice.
package build

import (
	"fmt"
	"os"
	"path/filepath"
)

// Spec is an image to be built.
type Spec struct {
	Context    string            // required: absolute path of the directory
	Dockerfile string            // absolute path; default: Dockerfile or Containerfile in Context
	Target     string            // the stage to build; default: the last one
	Args       map[string]string // build arguments
	Platform   string            // required: "linux/amd64"
	Project    string            // absolute path of the project file, which does not count as a source

	// Known are images that no registry has, by which the Dockerfile may begin.
	Known []Base
}

// Base is an image in an OCI layout on this host.
type Base struct {
	Name   string // in full, as "local/debian:12"
	Digest string
	Layout string // directory of the layout; needed by [Engine.Build] alone, as is Tag
	Tag    string // of the image in the layout
}

// SourceError reports sources that cannot be built from.
type SourceError struct {
	Path string
	Err  error
	Hint string // the remedy
}

func (e *SourceError) Error() string { return fmt.Sprintf("build: %s: %v", e.Path, e.Err) }

// Unwrap gives the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Remedy says what to change.
func (e *SourceError) Remedy() string { return e.Hint }

// dockerfile finds the file and reads it.
func (s Spec) dockerfile() (path string, text []byte, err error) {
	paths := []string{s.Dockerfile}
	if s.Dockerfile == "" {
		paths = s.defaults()
	}
	for _, path = range paths {
		if text, err = os.ReadFile(path); err == nil {
			return path, text, nil
		}
		if !os.IsNotExist(err) {
			break
		}
	}
	return "", nil, &SourceError{
		Path: paths[0], Err: reason(err),
		Hint: "write one there, or say where it is: dockerfile = \"PATH\", relative to the context",
	}
}

// defaults are the paths of a Dockerfile that nobody has named, the first one first.
func (s Spec) defaults() []string {
	return []string{filepath.Join(s.Context, "Dockerfile"), filepath.Join(s.Context, "Containerfile")}
}

// reason leaves the path out of an error that is told with one.
func reason(err error) error {
	if e, ok := err.(*os.PathError); ok { //nolint:errorlint // straight from package os
		return e.Err
	}
	return err
}

// checkContext refuses what is no directory.
func (s Spec) checkContext() error {
	info, err := os.Stat(s.Context)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("not a folder")
	}
	if err != nil {
		return &SourceError{Path: s.Context, Err: reason(err), Hint: "name the folder of the sources: context = \"PATH\""}
	}
	return nil
}
