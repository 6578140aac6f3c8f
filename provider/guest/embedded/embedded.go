// Package embedded carries the guest agent inside the stead program, so that one file
// is all there is to install. `make build` puts the agents, static Linux programs, into
// bin; a plain `go build` finds the folder empty and still works.
//
// They are packed, as a supervisor would otherwise keep eight megabytes in memory that
// it needs once a boot.
package embedded

import (
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"io/fs"
)

//go:embed all:bin
var bin embed.FS

// MissingError says that this program was built without the agent for an architecture.
type MissingError struct{ Arch string }

func (e *MissingError) Error() string {
	return "this stead was built without its guest agent for linux/" + e.Arch
}

// Remedy says how to build it with its agents.
func (e *MissingError) Remedy() string { return `build stead with "make build"` }

// Agent is the program for guests of one architecture.
type Agent string

// Find is the agent for a guest of the architecture, as Go spells it, or a
// [MissingError].
func Find(arch string) (Agent, error) {
	name := "bin/stead-agent-linux-" + arch + ".gz"
	if _, err := fs.Stat(bin, name); err != nil {
		return "", &MissingError{Arch: arch}
	}
	return Agent(name), nil
}

// Program unpacks the agent.
func (a Agent) Program() ([]byte, error) {
	f, err := bin.Open(string(a))
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	defer f.Close()
	program, err := unpack(f)
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	return program, nil
}

func unpack(packed io.Reader) ([]byte, error) {
	r, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
