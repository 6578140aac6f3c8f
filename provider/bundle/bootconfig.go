package bundle

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
)

// bootConfig is boot-config.json: Apple's five keys in Apple's formats, then stead's. Every
// key may be missing.
type bootConfig struct {
	CPUs           *int               `json:"cpus,omitempty"`
	Memory         *string            `json:"memory,omitempty"` // an integer and a binary unit: "4gb"
	HomeMount      *machine.HomeMount `json:"homeMount,omitempty"`
	Virtualization *bool              `json:"virtualization,omitempty"`
	KernelPath     *string            `json:"kernelPath,omitempty"`

	Disk     *string  `json:"disk,omitempty"` // as memory
	SSHAgent *bool    `json:"sshAgent,omitempty"`
	Services []string `json:"services,omitempty"`
}

func bootConfigOf(s machine.Settings) bootConfig {
	memory, disk, sshAgent := sizeText(s.Memory), sizeText(s.Disk), !s.NoSSHAgent
	c := bootConfig{
		CPUs: &s.CPUs, Memory: &memory, HomeMount: &s.HomeMount, Virtualization: &s.Virtualization,
		Disk: &disk, SSHAgent: &sshAgent, Services: s.Services,
	}
	if s.Kernel != "" {
		c.KernelPath = &s.Kernel
	}
	return c
}

// settings returns the checked settings, with defaults for missing keys.
func (c bootConfig) settings() (machine.Settings, error) {
	s := host.DefaultSettings()
	set(&s.CPUs, c.CPUs)
	set(&s.HomeMount, c.HomeMount)
	set(&s.Virtualization, c.Virtualization)
	set(&s.Kernel, c.KernelPath)
	s.NoSSHAgent = c.SSHAgent != nil && !*c.SSHAgent
	s.Services = c.Services
	var errs []error
	for _, part := range []struct {
		key  string
		text *string
		into *int64
	}{{"memory", c.Memory, &s.Memory}, {"disk", c.Disk, &s.Disk}} {
		if part.text == nil {
			continue
		}
		n, err := size.Parse(*part.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.key, err))
		}
		*part.into = n
	}
	if err := errors.Join(errs...); err != nil {
		return machine.Settings{}, err
	}
	return s, s.Check()
}

func set[T any](into, from *T) {
	if from != nil {
		*into = *from
	}
}

// sizeText returns n in the largest unit that leaves no remainder, as Apple's tool writes it: "4gb".
func sizeText(n int64) string { return strings.ToLower(size.Setting(n)) + "b" }

// Settings reads boot-config.json. Missing keys take the host's defaults.
func (b Bundle) Settings() (machine.Settings, error) {
	var c bootConfig
	if err := b.ReadJSON(BootConfigFile, &c); err != nil {
		return machine.Settings{}, err
	}
	s, err := c.settings()
	if err != nil {
		return machine.Settings{}, fmt.Errorf("%s: %w", b.Path(BootConfigFile), err)
	}
	return s, nil
}

// WriteSettings writes boot-config.json. Keys that stead does not know survive.
func (b Bundle) WriteSettings(s machine.Settings) error {
	return b.mergeJSON(BootConfigFile, bootConfigOf(s), "kernelPath", "services")
}

// booted is booted.json: the settings of a boot, and what else of that boot can change.
type booted struct {
	bootConfig
	User string `json:"user,omitempty"` // the name of the machine's user
}

// MarkBooted records the settings that the machine boots with, and the name of its user.
func (b Bundle) MarkBooted(s machine.Settings, user string) error {
	return WriteJSON(b.Path(bootedFile), booted{bootConfigOf(s), user})
}

// Booted returns the settings and the name of the user that the machine was booted with, or nil
// if they are unknown. It is meaningful only while the machine runs.
func (b Bundle) Booted() (s *machine.Settings, user string, err error) {
	var c booted
	err = b.ReadJSON(bootedFile, &c)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	settings, err := c.settings()
	return &settings, c.User, err
}
