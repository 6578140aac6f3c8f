//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules that the file "order" in dir lists. It only logs a module
// that the kernel rejects (for another processor, or built in): whatever needs the module
// reports what is missing.
func loadModules(log *slog.Logger, dir string) error {
	order, err := os.ReadFile(filepath.Join(dir, "order"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel with everything built in
	}
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		if err := loadModule(filepath.Join(dir, name)); err != nil {
			log.Warn("module not loaded", "module", name, "err", err)
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(path) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// ensureKVM makes /dev/kvm accessible to every user, like udev's own rule: container images
// often have no udev.
func ensureKVM(log *slog.Logger) error {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		if err := loadKVM(log); err != nil {
			return err
		}
	}
	return openToAll("/dev/kvm")
}

// openToAll makes KVM's device accessible to every user. Its error gives possible reasons
// for a missing device.
func openToAll(device string) error {
	if err := os.Chmod(device, 0o666); err != nil {
		return fmt.Errorf("virtualization = true is set, but KVM is not available: %w; "+
			"either the machine's kernel is built without KVM (CONFIG_KVM), or the host's processor or hypervisor does not offer it to this machine", err)
	}
	return nil
}

// loadKVM loads the processor's KVM module from the kernel's module tree. On arm64 KVM is
// not a module: the kernel has it built in or not at all.
func loadKVM(log *slog.Logger) error {
	if runtime.GOARCH == "arm64" {
		return nil
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	name := kvmModule(string(cpu))
	if name == "" {
		return errors.New("virtualization = true is set, but the machine's processor has neither svm nor vmx")
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	tree := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	deps, err := os.ReadFile(filepath.Join(tree, "modules.dep"))
	if err != nil {
		return fmt.Errorf("find the kernel module %s: %w", name, err)
	}
	paths := moduleWithDependencies(string(deps), name)
	if len(paths) == 0 {
		return fmt.Errorf("the kernel has no module %s", name)
	}
	for _, p := range paths {
		if err := loadModule(filepath.Join(tree, p)); err != nil {
			log.Warn("module not loaded", "module", p, "err", err)
		}
	}
	return nil
}

// kvmModule returns the module for a processor by the flags in /proc/cpuinfo.
func kvmModule(cpuinfo string) string {
	for _, word := range strings.Fields(cpuinfo) {
		switch word {
		case "svm":
			return "kvm-amd"
		case "vmx":
			return "kvm-intel"
		}
	}
	return ""
}

// moduleWithDependencies returns the paths to load for a module, dependencies first,
// from the text of modules.dep(5), which lists the nearest dependency first.
func moduleWithDependencies(deps, name string) []string {
	for line := range strings.Lines(deps) {
		path, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		base, _, _ := strings.Cut(filepath.Base(path), ".")
		if !ok || strings.ReplaceAll(base, "_", "-") != name {
			continue
		}
		paths := []string{path}
		for _, dep := range strings.Fields(needs) {
			paths = append([]string{dep}, paths...)
		}
		return paths
	}
	return nil
}
