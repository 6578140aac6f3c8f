package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// stateFile is state.json: {"defaultMachine": "dev"} (Apple's name and key).
const stateFile = "state.json"

type state struct {
	DefaultMachine string `json:"defaultMachine,omitempty"`
}

// Default is the machine that commands without a name mean, or "" when there is none.
func (p *Provider) Default() (string, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(p.opts.Home, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(p.opts.Home, stateFile), err)
	}
	if !p.bundle(s.DefaultMachine).exists() {
		return "", nil
	}
	return s.DefaultMachine, nil
}

// SetDefault makes id the machine that commands without a name mean.
func (p *Provider) SetDefault(id string) error {
	if !ValidID(id) || !p.bundle(id).exists() {
		return &NotFoundError{ID: id}
	}
	return p.writeDefault(id)
}

func (p *Provider) writeDefault(id string) error {
	return diskFull(bundle{p.opts.Home}.mergeJSON(stateFile, state{DefaultMachine: id}), p.opts.Home)
}

// defaultIfFirst makes id the default where there is none: the first machine made
// becomes the default.
func (p *Provider) defaultIfFirst(id string) error {
	current, err := p.Default()
	if err != nil || current != "" {
		return err
	}
	return p.SetDefault(id)
}
