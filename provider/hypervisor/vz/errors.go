package vz

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// entitlement is the entitlement that macOS requires of a program that runs virtual machines.
const entitlement = "com.apple.security.virtualization"

const (
	installRosetta  = `run "softwareupdate --install-rosetta --agree-to-license"`
	signWithOurs    = `run "make install", which installs a signed stead, or sign a program that you built with "make sign BINARY=PROGRAM" (it runs codesign)`
	oldestMacOS     = 13
	oldestForNested = "macOS 15 or later on a Mac with an M3 or later, to programs built with Xcode 16 or later"
)

// EntitlementError reports that this program is not signed for running virtual machines.
type EntitlementError struct{ Err error }

func (e *EntitlementError) Error() string {
	return "this stead program is not signed with the entitlement " + entitlement + ", which macOS requires to run machines"
}

func (e *EntitlementError) Unwrap() error { return e.Err }

// Remedy says how to sign the program.
func (e *EntitlementError) Remedy() string { return signWithOurs }

// VersionError reports that macOS is too old to run machines.
type VersionError struct{ Version string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("macOS %s is too old: machines need macOS %d or later", e.Version, oldestMacOS)
}

func (e *VersionError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy names the version to update to.
func (e *VersionError) Remedy() string {
	return fmt.Sprintf("update macOS to %d or later", oldestMacOS)
}

// RosettaError reports a machine for amd64 on a Mac without Rosetta.
type RosettaError struct {
	Installable bool // Rosetta can be installed on this Mac
}

func (e *RosettaError) Error() string {
	if e.Installable {
		return "images for amd64 need Rosetta, which is not installed"
	}
	return "images for another architecture need Rosetta, which is not available on this Mac"
}

func (e *RosettaError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy says how to install Rosetta, or which images to use.
func (e *RosettaError) Remedy() string {
	if e.Installable {
		return installRosetta
	}
	return "choose an image for this Mac's own architecture"
}

// IdentityError reports that the file of [hypervisor.Config.Identity] is damaged. The
// driver does not replace it: the guest may have bound licences to the identifier.
type IdentityError struct{ Path string }

func (e *IdentityError) Error() string { return e.Path + " is damaged: it holds no machine identifier" }

// Remedy says how to restore or replace the file.
func (e *IdentityError) Remedy() string {
	return fmt.Sprintf("restore it from a backup, or remove it with \"rm '%s'\": the machine keeps its disk, but the guest sees a different computer", e.Path)
}

// FrameworkError is an error that Virtualization.framework returned.
type FrameworkError struct {
	Doing       string // "start the machine"
	Domain      string // "VZErrorDomain"
	Code        int    // see Apple's VZError.Code
	Description string // a sentence in the user's language
	Details     string // the error's dictionary as Foundation prints it
}

func (e *FrameworkError) Error() string {
	text := fmt.Sprintf("%s: %s (%s %d)", e.Doing, strings.TrimSpace(e.Description), e.Domain, e.Code)
	if m := underlying.FindStringSubmatch(e.Details); m != nil {
		text += fmt.Sprintf(": %s (%s %s)", m[3], m[1], m[2])
	}
	return text
}

// underlying matches the underlying error in the printed dictionary of an error:
//
//	NSUnderlyingError = "Error Domain=NSPOSIXErrorDomain Code=16 \"Resource busy\"";
var underlying = regexp.MustCompile(`NSUnderlyingError = "Error Domain=(\S+) Code=(-?\d+) \\"(.+?)\\"`)

// classified returns e, or an EntitlementError if e is about the entitlement.
func (e *FrameworkError) classified() error {
	// The description is localized, but always contains the entitlement's name.
	if strings.Contains(e.Description, entitlement) || strings.Contains(e.Details, entitlement) {
		return &EntitlementError{Err: e}
	}
	return e
}

// InternalError reports that the framework ended the machine because of its own error.
type InternalError struct{}

func (*InternalError) Error() string {
	return "Virtualization.framework ended the machine after an internal error and gave no reason"
}

// Remedy says where to find the reason.
func (*InternalError) Remedy() string {
	return `read the log of macOS: log show --last 10m --predicate 'process == "com.apple.Virtualization.VirtualMachine"'`
}
