// Package embedded carries the guest agent inside the stead program, so that one file
// is all there is to install. `make build` puts the agents, static Linux programs, into
// bin; a plain `go build` finds the folder empty and still works.
//
// They are packed, as a supervisor would otherwise keep eight megabytes in memory that
// it needs once a boot.
package embedded

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

//go:embed all:bin
var bin embed.FS

// ErrMissing says that this program was built without agents.
var ErrMissing = errors.New(`this stead was built without its guest agent: build it with "make build"`)

// Agent is a program for a guest, packed by gzip.
type Agent []byte

// Find is the agent for a guest of the architecture, as Go spells it, or ErrMissing.
func Find(arch string) (Agent, error) {
	packed, err := bin.ReadFile("bin/stead-agent-linux-" + arch + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	return packed, err
}

// Program unpacks the agent.
func (a Agent) Program() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(a))
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	program, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("the embedded agent: %w", err)
	}
	return program, nil
}
