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

// Places of the translator. They are on a tmpfs, as all of a boot is. The kernel's
// registry is mounted a second time, away from where inits expect it: systemd refuses
// to set up its own mount of it over one that is there.
const (
	rosettaDir  = runDir + "/rosetta"
	formatsDir  = runDir + "/binfmt_misc"
	rosettaName = "rosetta" // of the program and of its registration
)

// rosettaFormat is what the translator runs: executables and shared objects of 64-bit
// x86, in the words of the kernel's Documentation/admin-guide/binfmt-misc.rst. Magic,
// mask and flags are those that Apple gives for update-binfmts in "Running Intel
// Binaries in Linux VMs with Rosetta": C computes credentials by the program and not by
// the translator, F opens the translator now, so that it works in containers too.
const rosettaFormat = ":" + rosettaName + ":M::" +
	`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00:` +
	`\xff\xff\xff\xff\xff\xfe\xfe\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:` +
	rosettaDir + "/" + rosettaName + ":CF\n"

// translate has amd64 programs run by the host's translator. It comes before the init,
// which is such a program.
func translate() error {
	if err := errors.Join(mountRosetta(), register()); err != nil {
		return fmt.Errorf("amd64 programs cannot run: %w", err)
	}
	return keepRegistered("/")
}

func mountRosetta() error {
	if err := mountShares([]guest.Mount{{Tag: guest.RosettaTag, Target: rosettaDir, ReadOnly: true}}); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(rosettaDir, rosettaName)); err != nil {
		return fmt.Errorf("the host shares no translator: %w", err)
	}
	return nil
}

func register() error {
	err := os.MkdirAll(formatsDir, 0o755)
	if err == nil {
		err = unix.Mount("binfmt_misc", formatsDir, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return fmt.Errorf("mount binfmt_misc, which the kernel may lack: %w", err)
	}
	if err := os.WriteFile(filepath.Join(formatsDir, "register"), []byte(rosettaFormat), 0o200); err != nil {
		return fmt.Errorf("register the translator: %w", err)
	}
	return nil
}

// formatsService changes systemd's own service for such formats. It begins by
// forgetting all that are registered and does so again when the machine stops, and
// nothing of systemd could be executed then. Started with the names of files it adds
// those and forgets nothing.
const formatsService = `# Written by stead at each boot.
[Service]
ExecStart=
ExecStart=/bin/sh -c 'PATH=/usr/lib/systemd:/lib/systemd; for f in /usr/lib/binfmt.d/*.conf /lib/binfmt.d/*.conf /etc/binfmt.d/*.conf; do [ ! -e "$$f" ] || systemd-binfmt "$$f"; done'
ExecStop=
`

// keepRegistered makes the registration outlive what an init does to the others. The
// second file is for those who call systemd-binfmt by hand.
func keepRegistered(root string) error {
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
