package kernel

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	entries, _ := os.ReadDir(dir) // a folder that is not there has none
	paths := make([]string, 0, len(entries))
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	k, rejected := newest(paths, arch)
	if k.Path == "" {
		return Kernel{}, &NoKernelError{System: darwin, Arch: arch, Rejected: rejected}
	}
	return k, nil
}

// newest opens images for arch and returns the one of the newest release, and why others
// were passed over.
func newest(paths []string, arch string) (Kernel, []error) {
	var usable []Kernel
	var rejected []error
	for _, path := range paths {
		k, err := openImage(path, arch)
		if err != nil {
			rejected = append(rejected, err)
			continue
		}
		usable = append(usable, k)
	}
	if len(usable) == 0 {
		return Kernel{}, rejected
	}
	return slices.MaxFunc(usable, func(a, b Kernel) int {
		return cmp.Or(compareReleases(a.Release, b.Release), -cmp.Compare(a.Path, b.Path))
	}), rejected
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
	f, err := os.Open(path)
	if err != nil {
		return Kernel{}, err
	}
	defer f.Close()
	head := make([]byte, arm64MagicOffset+len(arm64Magic))
	if _, err := io.ReadFull(f, head); err != nil {
		return Kernel{}, err
	}
	if k.Arch != arch || !isArm64Image(head) {
		return Kernel{}, &NotImageError{Path: path, Arch: arch}
	}
	return k, nil
}
