package kernel

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"runtime"
	"strings"
)

// NoKernelError reports that the host has no kernel that a machine can boot.
type NoKernelError struct {
	Arch     string  // of the machine
	Rejected []error // why each existing kernel was skipped
}

func (e *NoKernelError) Error() string {
	if len(e.Rejected) == 0 {
		return "no Linux kernel for " + e.Arch + " on this host: neither /boot/vmlinuz-* nor /lib/modules/*/vmlinuz exists"
	}
	var b strings.Builder
	b.WriteString("no kernel on this host can boot a machine for " + e.Arch)
	for _, err := range e.Rejected {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

// Unwrap returns the reasons, for errors.As.
func (e *NoKernelError) Unwrap() []error { return e.Rejected }

// Remedy says how to get a kernel.
func (e *NoKernelError) Remedy() string {
	if e.Arch != runtime.GOARCH { // the host's own kernels do not help, readable or not
		return "unpack a distribution's kernel package for " + e.Arch + " (Debian's linux-image-cloud-" + e.Arch + "), " +
			"index its modules with \"depmod -b\", and pass the kernel: --kernel DIR/boot/vmlinuz-…"
	}
	var unreadable *UnreadableError
	if errors.As(errors.Join(e.Rejected...), &unreadable) {
		return unreadable.Remedy()
	}
	return "install your distribution's kernel package (on Debian: \"apt install linux-image-cloud-" + e.Arch + "\"), " +
		"or set a kernel in machines.hcl: kernel = \"/path/to/vmlinuz\""
}

// NoDefaultError reports that there is no default kernel for an architecture on macOS.
// Machines with a kernel setting still run.
type NoDefaultError struct{ Arch string }

func (e *NoDefaultError) Error() string {
	return "no default kernel for " + e.Arch + " machines on macOS"
}

// Remedy says which kernel to set.
func (e *NoDefaultError) Remedy() string {
	return "set a kernel in machines.hcl: kernel = \"/path/to/vmlinuz\" (a bzImage of a distribution, with its lib/modules beside it)"
}

// UnreadableError reports a kernel that only other users may read. Ubuntu installs its
// kernels readable by root alone.
type UnreadableError struct {
	Path string
	Err  error
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("cannot read kernel: %v", e.Err) }
func (e *UnreadableError) Unwrap() error { return e.Err }

// Remedy says how to make the kernel readable.
func (e *UnreadableError) Remedy() string {
	return fmt.Sprintf("run \"sudo chmod a+r %s\" (again after each kernel update), or set another kernel in machines.hcl", e.Path)
}

// NotKernelError reports a file that is not a kernel image in a known form.
type NotKernelError struct{ Path string }

func (e *NotKernelError) Error() string { return e.Path + " is not a Linux kernel" }

// Remedy lists the known forms.
func (e *NotKernelError) Remedy() string {
	return "use a bzImage (a distribution's vmlinuz), an ELF vmlinux, or on arm64 an Image, plain or gzipped"
}

// NoModulesError reports a distribution's kernel whose modules are missing.
type NoModulesError struct{ Path, Release string }

func (e *NoModulesError) Error() string {
	return fmt.Sprintf("kernel %s has no module tree: /lib/modules/%s is missing or was never indexed by depmod", e.Path, e.Release)
}

// MissingModuleError reports a kernel that lacks a module which a machine needs.
type MissingModuleError struct {
	Module  string
	Release string
	Tree    string
}

func (e *MissingModuleError) Error() string {
	return fmt.Sprintf("kernel %s has no module %s: it is neither built in nor in %s", e.Release, e.Module, e.Tree)
}

// Remedy says which package may have the module.
func (e *MissingModuleError) Remedy() string {
	return fmt.Sprintf("install the rest of this kernel's modules (on Ubuntu: \"apt install linux-modules-extra-%s\"; "+
		"on Fedora: \"dnf install kernel-modules-%s\"), or choose a kernel with this module", e.Release, e.Release)
}

// FormError reports a kernel in a form that Virtualization.framework cannot boot.
type FormError struct {
	Path      string
	Has, Want Form
}

func (e *FormError) Error() string {
	return fmt.Sprintf("kernel %s is %s, but Virtualization.framework boots %s", e.Path, e.Has, e.Want)
}

// Remedy says how to get the kernel in the right form.
func (e *FormError) Remedy() string {
	switch {
	case e.Has == GzippedImage && e.Want == Image:
		return fmt.Sprintf(`unpack it with "gunzip -c '%s' >'%s.Image'" and set that file as the kernel in machines.hcl`, e.Path, e.Path)
	case e.Want == Image:
		return "set kernel in machines.hcl to arch/arm64/boot/Image of the kernel's build, or remove it to use the default kernel"
	}
	return "set kernel in machines.hcl to arch/x86/boot/bzImage of the kernel's build (a distribution's vmlinuz)"
}

// NotFetchedError reports that the default kernel has not been downloaded yet.
type NotFetchedError struct{ Archive Archive }

func (e *NotFetchedError) Error() string {
	return "the default kernel has not been downloaded yet: " + path.Base(e.Archive.Member)
}

// Remedy says which commands download it.
func (e *NotFetchedError) Remedy() string {
	return "run \"stead apply\" or \"stead start\" to download it, or " + setKernel
}

// setKernel says how to do without the default kernel.
const setKernel = "set a kernel in machines.hcl: kernel = \"/path/to/Image\""

// FetchError reports that the default kernel could not be downloaded.
type FetchError struct {
	Archive Archive
	Err     error
}

func (e *FetchError) Error() string { return fmt.Sprintf("download the default kernel: %v", e.Err) }
func (e *FetchError) Unwrap() error { return e.Err }

// Remedy says to retry, or to set another kernel.
func (e *FetchError) Remedy() string {
	host := e.Archive.URL
	if u, err := url.Parse(host); err == nil {
		host = u.Host
	}
	return fmt.Sprintf("check that this host can reach %s, then retry (the download resumes where it stopped), or %s", host, setKernel)
}

// ArchiveError reports an archive that has the right digest but no usable kernel.
type ArchiveError struct {
	Archive Archive
	Err     error
}

func (e *ArchiveError) Error() string { return fmt.Sprintf("archive %s: %v", e.Archive.URL, e.Err) }
func (e *ArchiveError) Unwrap() error { return e.Err }

// Remedy says to set another kernel.
func (e *ArchiveError) Remedy() string { return setKernel }
