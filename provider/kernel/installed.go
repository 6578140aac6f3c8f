package kernel

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// appleDefault is the link to the kernel that Apple's container boots.
const appleDefault = "default.kernel-arm64"

// AppleFolder is the directory of Apple's container for its kernels, below a user's home.
const AppleFolder = "Library/Application Support/com.apple.container/kernels"

// Installed returns the kernel that Apple's container, which only runs on Apple silicon,
// has in its directory dir: the one that it boots by default, else the newest. Without one
// that Virtualization.framework can boot the error is [fs.ErrNotExist].
func Installed(dir string) (Kernel, error) {
	if k, err := openImage(filepath.Join(dir, appleDefault)); err == nil {
		return k, nil
	}
	return newestImage(dir)
}

// newestImage returns the newest kernel in a directory, or else [fs.ErrNotExist]. The
// directory may be missing.
func newestImage(dir string) (Kernel, error) {
	entries, _ := os.ReadDir(dir)
	var paths []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	k, _ := newest(paths, openImage)
	if k.Path == "" {
		return Kernel{}, fs.ErrNotExist
	}
	return k, nil
}

// openImage opens a kernel that is an uncompressed Image, the arm64 form that
// Virtualization.framework needs. It follows links, so that the path names the kernel.
func openImage(path string) (Kernel, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Kernel{}, err
	}
	form, err := FormOf(path)
	if err != nil {
		return Kernel{}, err
	}
	if form != Image {
		return Kernel{}, &FormError{Path: path, Has: form, Want: Image}
	}
	return Open(path)
}
