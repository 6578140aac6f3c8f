//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest"
)

// Paths of Rosetta, on a tmpfs like everything of a boot. binfmt_misc is mounted at a
// different place than usual, because systemd refuses to set up its own mount over an
// existing one.
const (
	rosettaDir  = runDir + "/rosetta"
	formatsDir  = runDir + "/binfmt_misc"
	rosettaName = "rosetta" // name of the program and of its registration
)

// rosettaFormat registers Rosetta for executables and shared objects of 64-bit x86, in the
// format of the kernel's Documentation/admin-guide/binfmt-misc.rst. Magic, mask and flags
// are Apple's for update-binfmts, from "Running Intel Binaries in Linux VMs with Rosetta".
// Flag C takes credentials from the program, not from Rosetta. Flag F opens Rosetta at
// registration, so that it works in containers too.
const rosettaFormat = ":" + rosettaName + ":M::" +
	`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00:` +
	`\xff\xff\xff\xff\xff\xfe\xfe\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:` +
	rosettaDir + "/" + rosettaName + ":CF\n"

// setUpRosetta makes the kernel run amd64 programs with Rosetta. It must run before the init,
// which is such a program.
func setUpRosetta() error {
	if err := errors.Join(mountRosetta(), registerRosetta()); err != nil {
		return fmt.Errorf("cannot run amd64 programs: %w", err)
	}
	return keepRosettaRegistered("/")
}

func mountRosetta() error {
	if err := mountShares([]guest.Mount{{Tag: guest.RosettaTag, Target: rosettaDir, ReadOnly: true}}); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(rosettaDir, rosettaName)); err != nil {
		return fmt.Errorf("the host does not share Rosetta: %w", err)
	}
	return nil
}

func registerRosetta() error {
	err := os.MkdirAll(formatsDir, 0o755)
	if err == nil {
		err = unix.Mount("binfmt_misc", formatsDir, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return fmt.Errorf("mount binfmt_misc, which the kernel may not support: %w", err)
	}
	if err := os.WriteFile(filepath.Join(formatsDir, "register"), []byte(rosettaFormat), 0o200); err != nil {
		return fmt.Errorf("register Rosetta: %w", err)
	}
	return nil
}

// formatsService overrides systemd's own service for binfmt_misc. That service removes all
// registrations when it starts and when the machine stops, after which systemd itself could
// not be executed. Run with the names of files, systemd-binfmt adds those and removes
// nothing.
const formatsService = `# Written by stead at each boot.
[Service]
ExecStart=
ExecStart=/bin/sh -c 'PATH=/usr/lib/systemd:/lib/systemd; for f in /usr/lib/binfmt.d/*.conf /lib/binfmt.d/*.conf /etc/binfmt.d/*.conf; do [ ! -e "$$f" ] || systemd-binfmt "$$f"; done'
ExecStop=
`

// keepRosettaRegistered keeps systemd from removing the registration. The second file covers a
// user who runs systemd-binfmt by hand.
func keepRosettaRegistered(root string) error {
	var problems []error
	for name, text := range map[string]string{
		"run/systemd/system/systemd-binfmt.service.d/stead.conf": formatsService,
		"run/binfmt.d/stead-rosetta.conf":                        rosettaFormat,
	} {
		path := filepath.Join(root, name)
		problems = append(problems, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
	}
	return errors.Join(problems...)
}
