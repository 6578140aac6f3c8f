package vz

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/stead-vm/stead/provider/hypervisor"
)

// entitlement is what macOS demands of a program that runs machines.
const entitlement = "com.apple.security.virtualization"

const (
	installRosetta  = `run "softwareupdate --install-rosetta --agree-to-license"`
	signWithOurs    = `install stead with "make install", which signs it; "make sign BINARY=PROGRAM" has codesign do so with one that you built`
	oldestMacOS     = 13
	oldestForNested = "macOS 15 or later on a Mac with an M3 or later, to programs built with Xcode 16 or later"
)

// EntitlementError reports that this program was not signed for running machines.
type EntitlementError struct{ Err error }

func (e *EntitlementError) Error() string {
	return "this stead is not signed with the entitlement " + entitlement + ", so macOS lets it run no machine"
}

func (e *EntitlementError) Unwrap() error { return e.Err }

// Remedy says how to sign the program.
func (e *EntitlementError) Remedy() string { return signWithOurs }

// VersionError reports a macOS whose framework lacks what machines need.
type VersionError struct{ Version string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("macOS %s is too old: machines need macOS %d", e.Version, oldestMacOS)
}

func (e *VersionError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy says what to update to.
func (e *VersionError) Remedy() string {
	return fmt.Sprintf("update macOS to %d or later", oldestMacOS)
}

// RosettaError reports a machine for amd64 whose programs nothing could translate.
type RosettaError struct {
	Installable bool // this Mac can have Rosetta
}

func (e *RosettaError) Error() string {
	if e.Installable {
		return "images for amd64 need Rosetta, which is not installed"
	}
	return "images for another processor need Rosetta, which this Mac cannot have"
}

func (e *RosettaError) Unwrap() error { return hypervisor.ErrUnsupported }

// Remedy says how to install Rosetta, or how to do without.
func (e *RosettaError) Remedy() string {
	if e.Installable {
		return installRosetta
	}
	return "choose an image for this Mac's own processor"
}

// IdentityError reports a damaged file of [hypervisor.Config.Identity]. It is not
// replaced unasked: a guest may have bound licences and names to what was in it.
type IdentityError struct{ Path string }

func (e *IdentityError) Error() string { return e.Path + " is damaged: it holds no machine identifier" }

// Remedy says how to go on.
func (e *IdentityError) Remedy() string {
	return fmt.Sprintf("restore it from a backup, or remove it with \"rm '%s'\": the machine keeps its disk, and its guest finds itself on another computer", e.Path)
}

// FrameworkError is what Virtualization.framework said when it refused something.
type FrameworkError struct {
	Doing       string // "start the machine"
	Domain      string // "VZErrorDomain"
	Code        int    // see Apple's VZError.Code
	Description string // a sentence in the user's language
	Details     string // Foundation's print of the error's dictionary
}

func (e *FrameworkError) Error() string {
	text := fmt.Sprintf("%s: %s (%s %d)", e.Doing, strings.TrimSpace(e.Description), e.Domain, e.Code)
	if m := underlying.FindStringSubmatch(e.Details); m != nil {
		text += fmt.Sprintf(": %s (%s %s)", m[3], m[1], m[2])
	}
	return text
}

// underlying finds the reason beneath an error in Foundation's print of its dictionary:
//
//	NSUnderlyingError = "Error Domain=NSPOSIXErrorDomain Code=16 \"Resource busy\"";
var underlying = regexp.MustCompile(`NSUnderlyingError = "Error Domain=(\S+) Code=(-?\d+) \\"(.+?)\\"`)

// classified is e, or the error that a caller tells from others.
func (e *FrameworkError) classified() error {
	// The sentence may be in any language; the entitlement's name stays what it is.
	if strings.Contains(e.Description, entitlement) || strings.Contains(e.Details, entitlement) {
		return &EntitlementError{Err: e}
	}
	return e
}

// InternalError is the end of a machine that the framework itself did not survive.
type InternalError struct{}

func (*InternalError) Error() string {
	return "Virtualization.framework ended the machine after an error of its own, of which it tells programs no reason"
}

// Remedy says where the reason is.
func (*InternalError) Remedy() string {
	return `read what macOS noted: log show --last 10m --predicate 'process == "com.apple.Virtualization.VirtualMachine"'`
}
