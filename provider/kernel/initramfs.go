package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/regular"
	"github.com/stead-vm/stead/provider/size"
)

// InitramfsOptions describes the initramfs of one boot.
type InitramfsOptions struct {
	Agent   []byte     // required: the static program that becomes /init
	Boot    guest.Boot // written to guest.BootPath; contains private keys
	Kernel  Kernel     // source of the modules
	Modules []string   // from Kernel.Modules; Initramfs adds their dependencies
}

// Initramfs writes the root file system that the kernel starts from: a cpio archive in the
// "newc" format of the kernel's Documentation/driver-api/early-userspace.
//
// The archive is not compressed: it goes from the host's memory to the guest's, and
// unpacking it there would cost more than copying it. Initramfs unpacks modules for the
// same reason, and so that the guest's kernel need not support their compression. The same
// options give the same bytes. /dev/console is missing because the small archive inside
// every kernel has it.
func Initramfs(w io.Writer, o InitramfsOptions) error {
	if len(o.Agent) == 0 {
		return errors.New("kernel: InitramfsOptions.Agent is required")
	}
	boot, err := json.Marshal(o.Boot)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	files, err := o.Kernel.resolve(o.Modules)
	if err != nil {
		return err
	}
	a := archive{w: cpio.NewWriter(w), dirs: map[string]bool{"/": true, ".": true}}
	for _, dir := range []string{"/dev", "/proc", "/sys", guest.ModulesDir} {
		a.mkdir(dir)
	}
	a.file("/init", 0o755, o.Agent)
	a.file(guest.BootPath, 0o600, boot)
	var order strings.Builder
	for _, f := range files {
		data, err := readModule(filepath.Join(o.Kernel.ModuleTree, f))
		if err != nil {
			return fmt.Errorf("initramfs: module %s of kernel %s: %w", moduleName(f), o.Kernel.Release, err)
		}
		name := moduleName(f) + ".ko"
		a.file(path.Join(guest.ModulesDir, name), 0o600, data)
		fmt.Fprintln(&order, name)
	}
	a.file(path.Join(guest.ModulesDir, "order"), 0o600, []byte(order.String()))
	if a.err == nil {
		a.err = a.w.Close()
	}
	if a.err != nil {
		return fmt.Errorf("write initramfs: %w", a.err)
	}
	return nil
}

// archive writes a cpio archive. It keeps the first error, so that callers need not check
// each member.
type archive struct {
	w    *cpio.Writer
	dirs map[string]bool
	err  error
}

// mkdir adds a directory and its parents, once each.
func (a *archive) mkdir(dir string) {
	if a.dirs[dir] {
		return
	}
	a.mkdir(path.Dir(dir))
	a.dirs[dir] = true
	a.add(&cpio.Header{Name: strings.TrimPrefix(dir, "/"), Mode: cpio.TypeDir | 0o755}, nil)
}

func (a *archive) file(name string, mode cpio.FileMode, data []byte) {
	a.mkdir(path.Dir(name))
	a.add(&cpio.Header{Name: strings.TrimPrefix(name, "/"), Mode: cpio.TypeReg | mode, Size: int64(len(data))}, data)
}

func (a *archive) add(h *cpio.Header, data []byte) {
	if a.err == nil {
		a.err = a.w.WriteHeader(h)
	}
	if a.err == nil && len(data) > 0 {
		_, a.err = a.w.Write(data)
	}
}

// maxModule bounds a module, packed and unpacked, in bytes. The largest of a distribution, for
// graphics, has 30 MiB.
const maxModule = 256 * size.MiB

// readModule reads a module file and undoes the distribution's compression.
func readModule(name string) ([]byte, error) {
	raw, err := regular.ReadFile(name, maxModule)
	if err != nil {
		return nil, err
	}
	r := io.Reader(bytes.NewReader(raw))
	switch filepath.Ext(name) {
	case ".ko":
		return raw, nil
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return nil, fmt.Errorf("%s: unknown compression", filepath.Base(name))
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && int64(len(data)) > maxModule {
		err = fmt.Errorf("unpacked, it has more than %s", size.Measured(maxModule))
	}
	return data, err
}
