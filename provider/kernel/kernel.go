// Package kernel finds the Linux kernel a machine boots and makes its initramfs.
//
// A machine's disk comes from a container image, which has neither kernel nor boot
// loader. Both are lent by the host: a kernel that it has installed, and an
// initramfs of our agent with the few modules it needs to reach the disk. The
// initramfs differs with every boot (it carries the boot's settings and keys), so it
// is written anew each time, which takes milliseconds; there is no image builder to
// run on the host and none to keep in step with its kernel.
package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Kernel is a kernel image and the modules that belong to it.
type Kernel struct {
	Path       string // of the image
	Release    string // what uname -r will say, "6.1.0-56-cloud-amd64"; empty when the image does not tell
	ModuleTree string // "…/lib/modules/<Release>"; empty: none, all is built in
	Arch       string // as Go spells it: "amd64", "arm64"
}

// Open looks at the image at path and finds its module tree, beside it or in the
// host's own places. It knows bzImage, ELF vmlinux, and arm64's Image, plain or
// gzipped; anything else is a [NotKernelError]. An image whose permissions keep us
// out is an [UnreadableError].
func Open(path string) (Kernel, error) { return openIn("/", path) }

// openIn is Open with the host's root directory as a parameter.
func openIn(root, path string) (Kernel, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Kernel{}, err
	}
	h, err := readImage(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Kernel{}, &UnreadableError{Path: path, Err: err}
	case errors.Is(err, errNotKernel):
		return Kernel{}, &NotKernelError{Path: path}
	case err != nil:
		return Kernel{}, fmt.Errorf("read kernel: %w", err)
	}
	return Kernel{
		Path:       path,
		Release:    h.release,
		ModuleTree: moduleTree(root, path, h.release),
		Arch:       h.arch,
	}, nil
}

func readImage(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return header{}, err
	}
	if !info.Mode().IsRegular() {
		return header{}, errNotKernel
	}
	return parseHeader(io.NewSectionReader(f, 0, info.Size()))
}

// releaseName keeps a release read from a foreign file from wandering through the
// file system when it becomes part of a path.
var releaseName = regexp.MustCompile(`^[0-9][A-Za-z0-9._+~-]*$`)

// moduleTree returns the first directory that is a module tree of release. Beside the
// image come the places where a kernel's build, a package unpacked by hand and a
// distribution put it.
func moduleTree(root, path, release string) string {
	if !releaseName.MatchString(release) {
		return ""
	}
	dir := filepath.Dir(path)
	places := []string{
		filepath.Join(dir, "lib/modules", release),
		filepath.Join(dir, "../lib/modules", release),
		filepath.Join(root, "lib/modules", release),
		filepath.Join(root, "usr/lib/modules", release),
	}
	if filepath.Base(dir) == release {
		places = append([]string{dir}, places...) // …/lib/modules/<release>/vmlinuz
	}
	for _, p := range places {
		if _, err := os.Stat(filepath.Join(p, "modules.dep")); err == nil {
			return p
		}
	}
	return ""
}

// Digest is the SHA-256 of the image, in hexadecimal.
func (k Kernel) Digest() (string, error) {
	f, err := os.Open(k.Path)
	if err != nil {
		return "", fmt.Errorf("digest of kernel: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("digest of kernel %s: %w", k.Path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
