package kernel

import (
	"os"
	"path/filepath"
	"strings"
)

// appleDefault begins the name of the link by which Apple's container names the kernel
// that it boots; the architecture ends it.
const appleDefault = "default.kernel-"

// AppleFolder is where Apple's container keeps its kernels, beneath a user's home.
const AppleFolder = "Library/Application Support/com.apple.container/kernels"

// Installed is the kernel for arch that Apple's container has in its folder dir: the one
// it boots by default, else the newest. Without one that Virtualization.framework could
// boot the error is a [NoKernelError] with the reasons.
func Installed(dir, arch string) (Kernel, error) {
	k, err := openImage(filepath.Join(dir, appleDefault+arch), arch)
	if err == nil {
		return k, nil
	}
	k, rejected := newestImage(dir, arch)
	if k.Path == "" {
		return Kernel{}, &NoKernelError{System: darwin, Arch: arch, Rejected: rejected}
	}
	return k, nil
}

// newestImage is the newest of a folder's kernels for arch, as [newest] returns it. A
// folder that is not there has none.
func newestImage(dir, arch string) (best Kernel, rejected []error) {
	entries, _ := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return newest(paths, func(path string) (Kernel, error) { return openImage(path, arch) })
}

// openImage opens a kernel for arch that is an uncompressed Image, as
// Virtualization.framework needs it. Links are followed, so that its path says which it is.
func openImage(path, arch string) (Kernel, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Kernel{}, err
	}
	k, err := Open(path)
	if err != nil {
		return Kernel{}, err
	}
	form, err := FormOf(path)
	if err != nil {
		return Kernel{}, err
	}
	if k.Arch != arch || form != Image {
		return Kernel{}, &NotImageError{Path: path, Arch: arch}
	}
	return k, nil
}
