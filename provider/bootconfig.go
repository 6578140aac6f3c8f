package provider

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/docker/go-units"
)

const (
	mib = 1 << 20
	gib = 1 << 30

	// MinMemory is the least a machine can have, in bytes (Apple's limit).
	MinMemory = 1 * gib
	// MinDisk is the least a disk can have, in bytes: a journal and some files.
	MinDisk = 64 * mib
	// DefaultDisk is the size of a disk that nobody asked for, in bytes. It is sparse.
	DefaultDisk = 64 * gib
)

// bootConfig is boot-config.json: Apple's five keys in Apple's forms, then ours.
// Every key may be missing.
type bootConfig struct {
	CPUs           *int       `json:"cpus,omitempty"`
	Memory         *string    `json:"memory,omitempty"` // an integer and a binary unit: "4gb"
	HomeMount      *HomeMount `json:"homeMount,omitempty"`
	Virtualization *bool      `json:"virtualization,omitempty"`
	KernelPath     *string    `json:"kernelPath,omitempty"`

	Disk     *string  `json:"disk,omitempty"` // as memory
	Services []string `json:"services,omitempty"`
}

func bootConfigOf(s Settings) bootConfig {
	memory, disk := sizeText(s.Memory), sizeText(s.Disk)
	c := bootConfig{
		CPUs: &s.CPUs, Memory: &memory, HomeMount: &s.HomeMount, Virtualization: &s.Virtualization,
		Disk: &disk, Services: s.Services,
	}
	if s.Kernel != "" {
		c.KernelPath = &s.Kernel
	}
	return c
}

// settings fills what the file leaves out with the defaults and checks the rest.
func (c bootConfig) settings() (Settings, error) {
	s := DefaultSettings()
	set(&s.CPUs, c.CPUs)
	set(&s.HomeMount, c.HomeMount)
	set(&s.Virtualization, c.Virtualization)
	set(&s.Kernel, c.KernelPath)
	s.Services = c.Services
	var errs []error
	for _, size := range []struct {
		key  string
		text *string
		into *int64
	}{{"memory", c.Memory, &s.Memory}, {"disk", c.Disk, &s.Disk}} {
		if size.text == nil {
			continue
		}
		n, err := ParseSize(*size.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", size.key, err))
		}
		*size.into = n
	}
	if err := errors.Join(errs...); err != nil {
		return Settings{}, err
	}
	return s, s.Check()
}

func set[T any](into, from *T) {
	if from != nil {
		*into = *from
	}
}

// Check reports every setting that no machine can have.
func (s Settings) Check() error {
	var errs []error
	if s.CPUs < 1 {
		errs = append(errs, fmt.Errorf("cpus is %d, it must be at least 1", s.CPUs))
	}
	if s.Memory < MinMemory {
		errs = append(errs, fmt.Errorf("memory is %s, it must be at least %s", sizeText(s.Memory), sizeText(MinMemory)))
	}
	if s.Disk < MinDisk {
		errs = append(errs, fmt.Errorf("disk is %s, it must be at least %s", sizeText(s.Disk), sizeText(MinDisk)))
	}
	switch s.HomeMount {
	case HomeReadWrite, HomeReadOnly, HomeNone:
	default:
		errs = append(errs, fmt.Errorf("home mount is %q, it must be rw, ro or none", s.HomeMount))
	}
	return errors.Join(errs...)
}

// DefaultSettings are Apple's defaults: half of the host's processors but at least 4
// (never more than the host has), half of its memory in whole GiB, the home read-write.
func DefaultSettings() Settings {
	cpus := min(max(runtime.NumCPU()/2, 4), runtime.NumCPU())
	return Settings{
		CPUs:      cpus,
		Memory:    max(hostMemory()/2/gib, 1) * gib,
		Disk:      DefaultDisk,
		HomeMount: HomeReadWrite,
	}
}

// ParseSize reads an integer and a unit (b, k, kb, kib, … p; upper or lower case,
// always binary); a bare number is bytes.
func ParseSize(text string) (int64, error) {
	n, err := units.RAMInBytes(strings.TrimSpace(text))
	if err != nil || strings.ContainsAny(text, ".-") {
		return 0, fmt.Errorf("%q is not a size: write a whole number and a unit, such as 4G or 512M", text)
	}
	return n, nil
}

// sizeText writes n with the largest unit that keeps it whole, as Apple's files do: "4gb".
func sizeText(n int64) string {
	unit := 0
	for n != 0 && n%1024 == 0 && unit < 5 {
		n /= 1024
		unit++
	}
	return fmt.Sprintf("%d%s", n, [...]string{"b", "kb", "mb", "gb", "tb", "pb"}[unit])
}

func (b bundle) settings() (Settings, error) {
	var c bootConfig
	if err := b.readJSON(bootConfigFile, &c); err != nil {
		return Settings{}, err
	}
	s, err := c.settings()
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", b.path(bootConfigFile), err)
	}
	return s, nil
}

func (b bundle) writeSettings(s Settings) error {
	return b.mergeJSON(bootConfigFile, bootConfigOf(s), "kernelPath", "services")
}

// markBooted records what the machine is about to run with.
func (b bundle) markBooted(s Settings) error {
	return writeJSON(b.path(bootedFile), bootConfigOf(s))
}

// booted is what the machine runs with; meaningful only while it runs.
func (b bundle) booted() (*Settings, error) {
	var c bootConfig
	err := b.readJSON(bootedFile, &c)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := c.settings()
	return &s, err
}
