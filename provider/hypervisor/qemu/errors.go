//go:build linux

package qemu

import (
	"fmt"
	"strings"
)

// MissingToolError reports that QEMU is not installed.
type MissingToolError struct {
	Tool, Install string
	Err           error
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s is not installed: %v", e.Tool, e.Err)
}
func (e *MissingToolError) Unwrap() error { return e.Err }

// Remedy says what to install.
func (e *MissingToolError) Remedy() string {
	return fmt.Sprintf("install QEMU (on Debian: %q)", e.Install)
}

// PermissionError reports a /dev/kvm that this user may not open. The driver does not fall
// back to emulation then: the user would not learn why machines are slow.
type PermissionError struct {
	User string
	Err  error
}

func (e *PermissionError) Error() string { return fmt.Sprintf("no permission to use KVM: %v", e.Err) }
func (e *PermissionError) Unwrap() error { return e.Err }

// Remedy says how to get the permission, or how to use emulation.
func (e *PermissionError) Remedy() string {
	return fmt.Sprintf("run \"sudo usermod -aG kvm %s\" and log in again, or set STEAD_ACCEL=tcg for slow emulation", e.User)
}

// AcceleratorError reports that STEAD_ACCEL requires KVM, which cannot run guests on this
// host.
type AcceleratorError struct{ Why string }

func (e *AcceleratorError) Error() string { return "KVM does not run guests on this host: " + e.Why }

// Remedy says how to use emulation.
func (e *AcceleratorError) Remedy() string {
	return "unset STEAD_ACCEL, or set it to tcg for slow emulation"
}

// ProcessError reports a host process of the machine that failed, with the end of its
// standard error.
type ProcessError struct {
	Process string // "QEMU", or "the file server for DIRECTORY"
	Args    []string
	Stderr  string
	Err     error
}

func (e *ProcessError) Error() string {
	words := strings.TrimSpace(e.Stderr)
	if words == "" {
		return fmt.Sprintf("%s failed: %v", e.Process, e.Err)
	}
	return fmt.Sprintf("%s failed: %v: %s", e.Process, e.Err, words)
}

func (e *ProcessError) Unwrap() error { return e.Err }
