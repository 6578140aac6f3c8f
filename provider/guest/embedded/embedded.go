// Package embedded carries the guest agent inside the stead program, so that one file
// is all there is to install. `make build` puts the agents, static Linux programs, into
// bin; a plain `go build` finds the folder empty and still works.
package embedded

import (
	"embed"
	"errors"
	"io/fs"
)

//go:embed all:bin
var bin embed.FS

// ErrMissing says that this program was built without agents.
var ErrMissing = errors.New(`this stead was built without its guest agent: build it with "make build"`)

// Agent is the agent for a guest of the architecture, as Go spells it, or ErrMissing.
func Agent(arch string) ([]byte, error) {
	data, err := bin.ReadFile("bin/stead-agent-linux-" + arch)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	return data, err
}
