// Package build turns a Dockerfile into an image with a builder that the host has.
//
// It uses an installed builder (Docker, Podman, Buildah or Apple's container) with its
// caches and credentials, and only decides when to build. A key of everything that goes
// into an image identifies it, so that a machine's image changes with its sources and
// nothing is built twice.
package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// Spec describes an image to build.
type Spec struct {
	Context    string            // required: absolute path of the directory
	Dockerfile string            // absolute path; default: Dockerfile or Containerfile in Context
	Target     string            // the stage to build; default: the last one
	Args       map[string]string // build arguments
	Platform   string            // required: "linux/amd64"
	Project    string            // absolute path of the project file, which is not a source

	// Known are images of no registry that the Dockerfile may use in FROM.
	Known []Base
}

// Base is an image in an OCI layout on this host.
type Base struct {
	Name   string // full name, such as "local/debian:12"
	Digest string
	Layout string // directory of the layout; like Tag only needed by [Engine.Build]
	Tag    string // of the image in the layout
}

// SourceError reports missing or unusable sources of an image.
type SourceError struct {
	Path string
	Err  error
	Hint string // the remedy
}

func (e *SourceError) Error() string {
	var special *regular.TypeError
	var large *regular.SizeError
	if errors.As(e.Err, &special) || errors.As(e.Err, &large) { // they name the path
		return fmt.Sprintf("build: %v", e.Err)
	}
	return fmt.Sprintf("build: %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Remedy says what to change.
func (e *SourceError) Remedy() string { return e.Hint }

// maxText bounds a Dockerfile and an ignore file, in bytes.
const maxText = 4 * size.MiB

// dockerfile finds the Dockerfile and reads it.
func (s Spec) dockerfile() (path string, text []byte, err error) {
	paths := []string{s.Dockerfile}
	if s.Dockerfile == "" {
		paths = s.defaults()
	}
	for _, path = range paths {
		if text, err = regular.ReadFile(path, maxText); err == nil {
			return path, text, nil
		}
		if !os.IsNotExist(err) {
			break
		}
	}
	return "", nil, &SourceError{
		Path: paths[0], Err: reason(err),
		Hint: "create it, or set another path relative to the context: dockerfile = \"PATH\"",
	}
}

// defaults returns the default paths of the Dockerfile, in order of preference.
func (s Spec) defaults() []string {
	return []string{filepath.Join(s.Context, "Dockerfile"), filepath.Join(s.Context, "Containerfile")}
}

// reason strips the path from an error, for messages that name the path themselves.
func reason(err error) error {
	if e, ok := err.(*os.PathError); ok { //nolint:errorlint // straight from package os
		return e.Err
	}
	return err
}

// checkContext returns an error unless the context is a directory.
func (s Spec) checkContext() error {
	info, err := os.Stat(s.Context)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("not a directory")
	}
	if err != nil {
		return &SourceError{Path: s.Context, Err: reason(err), Hint: "set the directory of the sources: context = \"PATH\""}
	}
	return nil
}
