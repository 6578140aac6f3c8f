package kernel

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"runtime"
	"strings"
)

// NoKernelError says that the host has no kernel a machine could boot.
type NoKernelError struct {
	Arch     string  // of the machine
	Rejected []error // why each kernel that is there was passed over
}

func (e *NoKernelError) Error() string {
	if len(e.Rejected) == 0 {
		return "no Linux kernel for " + e.Arch + " on this host: neither /boot/vmlinuz-* nor /lib/modules/*/vmlinuz exists"
	}
	var b strings.Builder
	b.WriteString("no kernel of this host can boot a machine for " + e.Arch)
	for _, err := range e.Rejected {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

// Unwrap gives the reasons to errors.As.
func (e *NoKernelError) Unwrap() []error { return e.Rejected }

// Remedy says how to get a kernel.
func (e *NoKernelError) Remedy() string {
	if e.Arch != runtime.GOARCH { // of which the host's own, readable or not, is none
		return "unpack a distribution's kernel package for " + e.Arch + " (Debian's linux-image-cloud-" + e.Arch + "), " +
			"index its modules with depmod -b, and name the kernel: --kernel FOLDER/boot/vmlinuz-…"
	}
	var unreadable *UnreadableError
	if errors.As(errors.Join(e.Rejected...), &unreadable) {
		return unreadable.Remedy()
	}
	return "install your distribution's kernel package (on Debian: apt install linux-image-cloud-" + e.Arch + "), " +
		"or name a kernel in machines.hcl: kernel = \"/path/to/vmlinuz\""
}

// NoDefaultError says that there is no default kernel for a Mac's processor: machines
// that name one run.
type NoDefaultError struct{ Arch string }

func (e *NoDefaultError) Error() string {
	return "there is no default kernel for " + e.Arch + " machines on macOS"
}

// Remedy says which kernel to name.
func (e *NoDefaultError) Remedy() string {
	return "name one in machines.hcl: kernel = \"/path/to/vmlinuz\", a bzImage as distributions have it, with its lib/modules beside it"
}

// UnreadableError says that a kernel is there but its permissions keep us out.
// Ubuntu installs its kernels readable by root alone.
type UnreadableError struct {
	Path string
	Err  error
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("cannot read kernel: %v", e.Err) }
func (e *UnreadableError) Unwrap() error { return e.Err }

// Remedy says how to make the kernel readable.
func (e *UnreadableError) Remedy() string {
	return fmt.Sprintf("run \"sudo chmod a+r %s\" (again after a kernel update), or name another kernel in machines.hcl", e.Path)
}

// NotKernelError says that a file is no kernel image in a form that we know.
type NotKernelError struct{ Path string }

func (e *NotKernelError) Error() string { return e.Path + " is not a Linux kernel" }

// Remedy lists the forms that are known.
func (e *NotKernelError) Remedy() string {
	return "use a bzImage (a distribution's vmlinuz), an ELF vmlinux, or on arm64 an Image, plain or gzipped"
}

// NoModulesError says that a distribution's kernel has lost its modules.
type NoModulesError struct{ Path, Release string }

func (e *NoModulesError) Error() string {
	return fmt.Sprintf("kernel %s has no module tree: /lib/modules/%s is missing or was never indexed by depmod", e.Path, e.Release)
}

// MissingModuleError says that a kernel lacks a part a machine cannot do without:
// it is neither built in nor in the module tree.
type MissingModuleError struct {
	Module  string
	Release string
	Tree    string
}

func (e *MissingModuleError) Error() string {
	return fmt.Sprintf("kernel %s has no module %s: it is neither built in nor in %s", e.Release, e.Module, e.Tree)
}

// Remedy says where the module may come from.
func (e *MissingModuleError) Remedy() string {
	return fmt.Sprintf("install the rest of this kernel's modules (on Ubuntu: apt install linux-modules-extra-%s; "+
		"on Fedora: dnf install kernel-modules-%s), or choose a kernel built with it", e.Release, e.Release)
}

// FormError says that a kernel is not packed as Virtualization.framework boots it.
type FormError struct {
	Path      string
	Has, Want Form
}

func (e *FormError) Error() string {
	return fmt.Sprintf("kernel %s is %s, and Virtualization.framework boots %s", e.Path, e.Has, e.Want)
}

// Remedy says how to get the kernel in the right form.
func (e *FormError) Remedy() string {
	switch {
	case e.Has == GzippedImage && e.Want == Image:
		return fmt.Sprintf(`unpack it with "gunzip -c '%s' >'%s.Image'" and name that file in machines.hcl`, e.Path, e.Path)
	case e.Want == Image:
		return "name arch/arm64/boot/Image of the kernel's build in machines.hcl, or no kernel to have the default"
	}
	return "name arch/x86/boot/bzImage of the kernel's build (a distribution's vmlinuz) in machines.hcl"
}

// NotFetchedError says that the default kernel is yet to be fetched.
type NotFetchedError struct{ Archive Archive }

func (e *NotFetchedError) Error() string {
	return "the default kernel is not on this host yet: " + path.Base(e.Archive.Member)
}

// Remedy says which commands fetch it.
func (e *NotFetchedError) Remedy() string {
	return "\"stead apply\" and \"stead start\" fetch it; or " + nameKernel
}

// nameKernel is how to do without a default kernel.
const nameKernel = "name a kernel in machines.hcl: kernel = \"/path/to/Image\""

// FetchError says that the default kernel could not be fetched.
type FetchError struct {
	Archive Archive
	Err     error
}

func (e *FetchError) Error() string { return fmt.Sprintf("fetch the default kernel: %v", e.Err) }
func (e *FetchError) Unwrap() error { return e.Err }

// Remedy is to try again, or to do without.
func (e *FetchError) Remedy() string {
	host := e.Archive.URL
	if u, err := url.Parse(host); err == nil {
		host = u.Host
	}
	return fmt.Sprintf("check that %s can be reached from here, and retry: what came so far is kept; or %s", host, nameKernel)
}

// ArchiveError says that an archive, though the right one by its digest, holds no kernel
// that could be used.
type ArchiveError struct {
	Archive Archive
	Err     error
}

func (e *ArchiveError) Error() string { return fmt.Sprintf("archive %s: %v", e.Archive.URL, e.Err) }
func (e *ArchiveError) Unwrap() error { return e.Err }

// Remedy says how to do without.
func (e *ArchiveError) Remedy() string { return nameKernel }
