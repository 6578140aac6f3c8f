package kernel

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// appleDefault is the link by which Apple's container names the kernel that it boots.
const appleDefault = "default.kernel-arm64"

// AppleFolder is where Apple's container keeps its kernels, beneath a user's home.
const AppleFolder = "Library/Application Support/com.apple.container/kernels"

// Installed is the kernel that Apple's container, which is for Apple silicon alone, has in
// its directory dir: the one it boots by default, else the newest. Without one that
// Virtualization.framework could boot the error is [fs.ErrNotExist].
func Installed(dir string) (Kernel, error) {
	if k, err := openImage(filepath.Join(dir, appleDefault)); err == nil {
		return k, nil
	}
	return newestImage(dir)
}

// newestImage is the newest of a directory's kernels, as [newest] knows it, or else
// [fs.ErrNotExist]. A directory that is not there has none.
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

// openImage opens a kernel that is an uncompressed Image, as Virtualization.framework
// needs it on arm64, which alone has such. Links are followed, so that its path says which
// it is.
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
