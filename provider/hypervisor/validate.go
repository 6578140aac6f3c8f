package hypervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

const (
	minMemory  = 64 << 20 // bytes; a distribution's kernel does not boot with less
	maxCmdline = 1024     // bytes; every supported kernel accepts more (x86: 2048)
	maxTag     = 36       // bytes, by virtio's specification
	maxSerial  = 20       // bytes, by virtio's specification
)

// Check reports everything that is wrong with c under any driver: features that the host
// lacks, missing files, and names that the virtual hardware would truncate. It skips
// fields that are still empty. maxMemory is the host's memory in bytes.
func Check(c Config, caps Capabilities, maxMemory int64) error {
	return errors.Join(
		checkProcessor(c, caps),
		checkMemory(c.Memory, maxMemory),
		checkShares(c.Shares),
		checkFiles(c),
	)
}

func checkProcessor(c Config, caps Capabilities) error {
	var errs []error
	switch {
	case c.CPUs < 1:
		errs = append(errs, fmt.Errorf("cpus = %d: a machine needs at least one", c.CPUs))
	case c.CPUs > caps.MaxCPUs:
		errs = append(errs, &LimitError{What: "cpus", Want: strconv.Itoa(c.CPUs), Max: strconv.Itoa(caps.MaxCPUs)})
	}
	if c.Arch != "" && !slices.Contains(caps.Archs, c.Arch) {
		errs = append(errs, fmt.Errorf("machines with %s processors are %w", c.Arch, ErrUnsupported))
	}
	if c.Nested && !caps.Nested {
		errs = append(errs, fmt.Errorf("nested virtualization is %w: %s", ErrUnsupported, caps.NestedWhy))
	}
	return errors.Join(errs...)
}

func checkMemory(want, most int64) error {
	switch {
	case want < minMemory:
		return fmt.Errorf("memory = %s: a machine needs at least %s", size.Setting(want), size.Setting(minMemory))
	case want > most:
		return &LimitError{What: "memory", Want: size.Setting(want), Max: size.Setting(most >> 20 << 20)}
	}
	return nil
}

func checkShares(shares []Share) error {
	var errs []error
	taken := map[string]bool{}
	for _, s := range shares {
		if len(s.Tag) == 0 || len(s.Tag) > maxTag {
			errs = append(errs, fmt.Errorf("share %s: tag %q must be 1 to %d bytes long", s.Path, s.Tag, maxTag))
		}
		if taken[s.Tag] {
			errs = append(errs, fmt.Errorf("share %s: the tag %q is already used by another share", s.Path, s.Tag))
		}
		taken[s.Tag] = true
		if info, err := os.Stat(s.Path); err != nil {
			errs = append(errs, fmt.Errorf("share: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("share: %s is not a directory", s.Path))
		}
	}
	return errors.Join(errs...)
}

func checkFiles(c Config) error {
	var errs []error
	for _, path := range []string{c.Kernel, c.Initrd} {
		if path != "" {
			errs = append(errs, canOpen(path, os.O_RDONLY))
		}
	}
	for _, d := range c.Disks {
		if len(d.Serial) > maxSerial || strings.ContainsFunc(d.Serial, func(r rune) bool { return r > 126 }) {
			errs = append(errs, fmt.Errorf("disk %s: serial %q must be ASCII of at most %d bytes", d.Path, d.Serial, maxSerial))
		}
		flag := os.O_RDWR
		if d.ReadOnly {
			flag = os.O_RDONLY
		}
		errs = append(errs, canOpen(d.Path, flag))
	}
	if c.Network != nil && len(c.Network.MAC) != 6 {
		errs = append(errs, fmt.Errorf("MAC address %q must be 6 bytes long", c.Network.MAC))
	}
	if strings.ContainsRune(c.Cmdline, 0) || len(c.Cmdline) > maxCmdline {
		errs = append(errs, fmt.Errorf("kernel command line is longer than %d bytes or contains NUL", maxCmdline))
	}
	return errors.Join(errs...)
}

func canOpen(path string, flag int) error {
	f, err := regular.OpenFile(path, flag)
	if err != nil {
		return err
	}
	return f.Close()
}

// LimitError reports a machine that asks for more than this host has.
type LimitError struct {
	What      string // "memory", "cpus"
	Want, Max string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s = %s is more than this host offers (%s)", e.What, e.Want, e.Max)
}

// Remedy names the highest possible value.
func (e *LimitError) Remedy() string { return fmt.Sprintf("set %s to %s or less", e.What, e.Max) }
