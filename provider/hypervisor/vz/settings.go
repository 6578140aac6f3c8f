package vz

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/kernel"
)

const mebibyte = 1 << 20

// wholeMebibytes is at least size, as the framework takes it: in multiples of 1 MiB.
func wholeMebibytes(size int64) uint64 {
	return uint64(size+mebibyte-1) &^ (mebibyte - 1)
}

// commandLine lets the caller have the last word: of a parameter given twice, the kernel
// takes the later.
func commandLine(more string) string {
	words := []string{
		"console=hvc0", "quiet",
		"panic=0",           // halt: a reset would go unseen, for the framework reports none
		"cryptomgr.notests", // the ciphers' self-tests find nothing on hardware that is virtual
	}
	return strings.Join(append(words, strings.Fields(more)...), " ")
}

// bootable is the form of kernel that the framework's boot loader takes.
var bootable = map[string]kernel.Form{"arm64": kernel.Image, "amd64": kernel.BzImage}

// checkKernel reports a kernel that the boot loader would not take. One that cannot be
// read is reported by others.
func checkKernel(path, arch string) error {
	if path == "" {
		return nil
	}
	has, err := kernel.FormOf(path)
	var none *kernel.NotKernelError
	switch {
	case errors.As(err, &none):
		return err
	case err != nil:
		return nil
	case has != bootable[arch]:
		return &kernel.FormError{Path: path, Has: has, Want: bootable[arch]}
	}
	return nil
}

// checkVersion reports a macOS, "15.1" or so, that is too old. vz panics with less.
func checkVersion(version string) error {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestMacOS {
		return &VersionError{Version: version}
	}
	return nil
}

// rosetta is whether a guest's programs for amd64 can be translated.
type rosetta uint8

const (
	rosettaUnsupported rosetta = iota // Intel, or a macOS without it
	rosettaMissing                    // to be installed
	rosettaInstalled
)

func checkRosetta(wanted bool, has rosetta) error {
	if !wanted || has == rosettaInstalled {
		return nil
	}
	return &RosettaError{Installable: has == rosettaMissing}
}

// nestedWhy is the reason for machines without machines inside.
func nestedWhy(nested bool) string {
	if nested {
		return ""
	}
	return "Virtualization.framework offers it on " + oldestForNested
}

// readIdentity is what the file at path keeps, or nil when there is no such file yet. An
// empty one is damaged: vz would read beyond it.
func readIdentity(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, &IdentityError{Path: path}
	}
	return data, nil
}

// keepIdentity writes a new identity whole or not at all. A guest that has seen it must
// not find another after a power cut.
func keepIdentity(path string, data []byte) error {
	if path == "" {
		return nil
	}
	return durable.WriteFile(path, data)
}
