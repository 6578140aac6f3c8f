// Package embedded contains the guest agents, so that the stead program is the only file to
// install. `make agents` puts the agents, static Linux programs, into bin. If that directory
// is empty, stead still builds, but without agents.
//
// The agents are compressed: a supervisor would otherwise keep 8 MB in memory that it needs
// only once per boot.
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

// MissingError reports that this program was built without the agent for an architecture.
type MissingError struct{ Arch string }

func (e *MissingError) Error() string {
	return "this stead program was built without the guest agent for linux/" + e.Arch
}

// Remedy says how to build stead with its agents.
func (e *MissingError) Remedy() string { return `build stead with "make build"` }

// Agent is the program for guests of one architecture.
type Agent string

// Find returns the agent for guests of an architecture, as Go spells it, or a
// [MissingError].
func Find(arch string) (Agent, error) {
	name := "bin/stead-agent-linux-" + arch + ".gz"
	if _, err := fs.Stat(bin, name); err != nil {
		return "", &MissingError{Arch: arch}
	}
	return Agent(name), nil
}

// Program decompresses the agent.
func (a Agent) Program() ([]byte, error) {
	f, err := bin.Open(string(a))
	if err != nil {
		return nil, fmt.Errorf("read the embedded agent: %w", err)
	}
	defer f.Close()
	program, err := unpack(f)
	if err != nil {
		return nil, fmt.Errorf("read the embedded agent: %w", err)
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
