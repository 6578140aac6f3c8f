//go:build linux

package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/hypervisor"
)

const (
	minMemory    = 64 << 20 // bytes; a distribution's kernel does not come up with less
	maxTag       = 36       // bytes, by virtio's specification
	maxSerial    = 20       // bytes, by virtio's specification
	maxSocketLen = 107      // bytes, sun_path of sockaddr_un less its NUL
)

func checkSize(c hypervisor.Config, hostMemory int64) error {
	var errs []error
	switch {
	case c.CPUs < 1:
		errs = append(errs, fmt.Errorf("cpus = %d: a machine needs at least one", c.CPUs))
	case c.CPUs > maxCPUs:
		errs = append(errs, &LimitError{What: "cpus", Want: strconv.Itoa(c.CPUs), Max: strconv.Itoa(maxCPUs)})
	}
	switch {
	case c.Memory < minMemory:
		errs = append(errs, fmt.Errorf("memory = %s: a machine needs at least %s", mebibytes(c.Memory), mebibytes(minMemory)))
	case c.Memory > hostMemory:
		errs = append(errs, &LimitError{What: "memory", Want: mebibytes(c.Memory), Max: mebibytes(hostMemory)})
	}
	return errors.Join(errs...)
}

func mebibytes(n int64) string { return strconv.FormatInt(n>>20, 10) + "MiB" }

func checkNested(c hypervisor.Config, caps hypervisor.Capabilities) error {
	if c.Nested && !caps.Nested {
		return fmt.Errorf("virtual machines inside a machine are %w: %s", hypervisor.ErrUnsupported, caps.NestedWhy)
	}
	return nil
}

func (d *Driver) checkShares(c hypervisor.Config) error {
	if len(c.Shares) > 0 && d.opts.ShareCommand == nil {
		return errors.New("qemu: Options.ShareCommand is required for shares")
	}
	var errs []error
	for i, s := range c.Shares {
		if len(s.Tag) == 0 || len(s.Tag) > maxTag {
			errs = append(errs, fmt.Errorf("share %s: tag %q must have 1 to %d bytes", s.Path, s.Tag, maxTag))
		}
		if info, err := os.Stat(s.Path); err != nil {
			errs = append(errs, fmt.Errorf("share: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("share: %s is not a folder", s.Path))
		}
		if socket := shareSocket(c.RunDir, i); len(socket) > maxSocketLen {
			errs = append(errs, fmt.Errorf("socket path %s is longer than the %d bytes a unix socket may have", socket, maxSocketLen))
		}
	}
	return errors.Join(errs...)
}

func checkFiles(c hypervisor.Config) error {
	var errs []error
	for _, path := range []string{c.Kernel, c.Initrd} {
		if path != "" {
			errs = append(errs, canOpen(path, os.O_RDONLY))
		}
	}
	for _, d := range c.Disks {
		if len(d.Serial) > maxSerial {
			errs = append(errs, fmt.Errorf("disk %s: serial %q has more than %d bytes", d.Path, d.Serial, maxSerial))
		}
		flag := os.O_RDWR
		if d.ReadOnly {
			flag = os.O_RDONLY
		}
		errs = append(errs, canOpen(d.Path, flag))
	}
	if c.Network != nil && len(c.Network.MAC) != 6 {
		errs = append(errs, fmt.Errorf("MAC address %q must have 6 bytes", c.Network.MAC))
	}
	if c.ConsoleLog != "" {
		if _, err := os.Stat(filepath.Dir(c.ConsoleLog)); err != nil {
			errs = append(errs, fmt.Errorf("console log: %w", err))
		}
	}
	if strings.ContainsRune(c.Cmdline, 0) || len(c.Cmdline) > 1024 {
		errs = append(errs, errors.New("kernel command line is longer than 1024 bytes or contains NUL"))
	}
	return errors.Join(errs...)
}

func canOpen(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
