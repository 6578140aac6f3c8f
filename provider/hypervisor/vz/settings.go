package vz

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/regular"
)

const mebibyte = 1 << 20

// wholeMebibytes rounds size up to a multiple of 1 MiB, as the framework requires.
func wholeMebibytes(size int64) uint64 {
	return uint64(size+mebibyte-1) &^ (mebibyte - 1)
}

// commandLine puts the caller's parameters last: if a parameter occurs twice, the kernel
// uses the later one.
func commandLine(more string) string {
	words := []string{
		"console=hvc0", "quiet",
		"panic=0",           // halt: the framework does not report a reset
		"cryptomgr.notests", // the ciphers' self-tests are useless on virtual hardware
	}
	return strings.Join(append(words, strings.Fields(more)...), " ")
}

// bootable is the form of kernel that the framework's boot loader accepts, by architecture.
var bootable = map[string]kernel.Form{"arm64": kernel.Image, "amd64": kernel.BzImage}

// checkKernel reports a kernel that the boot loader would not accept. It ignores one that
// it cannot read: other checks report that.
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

// checkVersion reports a version of macOS, such as "15.1", that is too old. vz panics on
// those.
func checkVersion(version string) error {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestMacOS {
		return &VersionError{Version: version}
	}
	return nil
}

// rosetta is the state of Rosetta for Linux on this Mac.
type rosetta uint8

const (
	rosettaUnsupported rosetta = iota // an Intel Mac, or a macOS without it
	rosettaMissing                    // can be installed
	rosettaInstalled
)

func checkRosetta(wanted bool, has rosetta) error {
	if !wanted || has == rosettaInstalled {
		return nil
	}
	return &RosettaError{Installable: has == rosettaMissing}
}

// nestedWhy returns why nested virtualization is not available, or "" if it is.
func nestedWhy(nested bool) string {
	if nested {
		return ""
	}
	return "Virtualization.framework offers nested virtualization on " + oldestForNested
}

// maxIdentity bounds an identifier, in bytes. The framework's has less than 100.
const maxIdentity = 64 << 10

// readIdentity returns the content of the file at path, or nil if there is no such file.
// An empty file is damaged: vz would read beyond its end.
func readIdentity(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	data, err := regular.ReadFile(path, maxIdentity)
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

// keepIdentity writes a new identity durably: a guest that has seen it must not see
// another one after a power cut.
func keepIdentity(path string, data []byte) error {
	if path == "" {
		return nil
	}
	return durable.WriteFile(path, data)
}
