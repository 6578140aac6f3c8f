// Package kernel finds the Linux kernel that a machine boots and writes its initramfs.
//
// A machine's disk comes from a container image, which has neither a kernel nor a boot
// loader. So a machine boots an installed kernel of the host with an initramfs that
// contains the agent and the few modules that it needs to reach the disk. The initramfs
// holds the settings and keys of one boot, so it is written for each boot, which takes
// milliseconds. No tool on the host has to build it or keep it in step with the kernel.
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

	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// Kernel is a kernel image and the modules that belong to it.
type Kernel struct {
	Path       string // of the image
	Release    string // output of uname -r, "6.1.0-56-cloud-amd64"; empty if unknown
	ModuleTree string // "…/lib/modules/<Release>"; empty if there is none: all is built in
	Arch       string // as Go spells it: "amd64", "arm64"

	index *lazyTree // of ModuleTree, shared by copies; nil: read at each use
}

// maxImage bounds a kernel image, in bytes: a distribution's vmlinux with all debug
// information has less.
const maxImage = 2 * size.GiB

// openFile opens the file of an image, which may be of any kind.
func openFile(path string) (*os.File, error) { return regular.OpenAtMost(path, maxImage) }

// Open reads the header of the image at path and finds its module tree, beside the image or
// in the host's usual directories. It supports bzImage, ELF vmlinux, and arm64's Image,
// plain or gzipped. The error is a [NotKernelError] for anything else and an
// [UnreadableError] for an image without permission to read it.
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
		index:      &lazyTree{},
	}, nil
}

func readImage(path string) (header, error) {
	f, err := openFile(path)
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return header{}, err
	}
	return parseHeader(io.NewSectionReader(f, 0, info.Size()))
}

// releaseName matches valid releases. A release from an untrusted file becomes part of a
// path, so it must not contain "/" or "..".
var releaseName = regexp.MustCompile(`^[0-9][A-Za-z0-9._+~-]*$`)

// moduleTree returns the first directory that is a module tree of release, or "". It looks
// beside the image and where a kernel's build, a package unpacked by hand and a
// distribution put the tree.
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

// Digest returns the SHA-256 of the image, in hexadecimal.
func (k Kernel) Digest() (string, error) {
	f, err := openFile(k.Path)
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
