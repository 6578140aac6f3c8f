package kernel

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestHostReturnsTheNewestUsableKernel(t *testing.T) {
	image := func(release string) string { return string(bzImage(release, nil)) }
	tests := map[string]struct {
		files map[string]string
		want  string // path of the image
	}{
		"newest by number, not by letter": {
			files: map[string]string{
				"boot/vmlinuz-6.1.0-9": image("6.1.0-9"), "lib/modules/6.1.0-9/modules.dep": complete,
				"boot/vmlinuz-6.1.0-10": image("6.1.0-10"), "lib/modules/6.1.0-10/modules.dep": complete,
			},
			want: "boot/vmlinuz-6.1.0-10",
		},
		"a kernel without its modules is skipped": {
			files: map[string]string{
				"boot/vmlinuz-6.1.0": image("6.1.0"), "lib/modules/6.1.0/modules.dep": complete,
				"boot/vmlinuz-6.9.0": image("6.9.0"),
			},
			want: "boot/vmlinuz-6.1.0",
		},
		"a kernel without virtiofs is skipped": {
			files: map[string]string{
				"boot/vmlinuz-6.1.0": image("6.1.0"), "lib/modules/6.1.0/modules.dep": complete,
				"boot/vmlinuz-6.9.0": image("6.9.0"), "lib/modules/6.9.0/modules.dep": strings.ReplaceAll(complete, "virtiofs.ko:", "other.ko:"),
			},
			want: "boot/vmlinuz-6.1.0",
		},
		"a kernel of another architecture is skipped": {
			files: map[string]string{
				"boot/vmlinuz-6.1.0": image("6.1.0"), "lib/modules/6.1.0/modules.dep": complete,
				"boot/vmlinuz-6.9.0": string(arm64Image("6.9.0")), "lib/modules/6.9.0/modules.dep": complete,
			},
			want: "boot/vmlinuz-6.1.0",
		},
		"the release comes from the image, not from its name": {
			files: map[string]string{"boot/vmlinuz-linux": image("6.12.1-arch1-1"), "lib/modules/6.12.1-arch1-1/modules.dep": complete},
			want:  "boot/vmlinuz-linux",
		},
		"a kernel beside its modules": {
			files: map[string]string{"usr/lib/modules/6.8.5/vmlinuz": image("6.8.5"), "usr/lib/modules/6.8.5/modules.dep": complete},
			want:  "usr/lib/modules/6.8.5/vmlinuz",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := write(t, tt.files)
			k, err := hostIn(root, "amd64")
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(root, tt.want); k.Path != want {
				t.Errorf("Host = %s, want %s", k.Path, want)
			}
		})
	}
}

func TestHostWithoutKernelSaysWhatToInstall(t *testing.T) {
	tests := map[string]struct {
		files   map[string]string
		message string
	}{
		"none at all":     {message: "no Linux kernel for amd64 on this host"},
		"without modules": {files: map[string]string{"boot/vmlinuz-6.9.0": string(bzImage("6.9.0", nil))}, message: "no module tree"},
		"not a kernel":    {files: map[string]string{"boot/vmlinuz-old": "text"}, message: "vmlinuz-old is not a Linux kernel"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := hostIn(write(t, tt.files), "amd64")
			var none *NoKernelError
			if !errors.As(err, &none) {
				t.Fatalf("hostIn = %v, want a NoKernelError", err)
			}
			if !strings.Contains(err.Error(), tt.message) {
				t.Errorf("error %q does not say %q", err, tt.message)
			}
			if !strings.Contains(none.Remedy(), "linux-image-cloud-amd64") {
				t.Errorf("remedy %q names no package", none.Remedy())
			}
			foreign := &NoKernelError{Arch: "riscv64", Rejected: none.Rejected}
			if !strings.Contains(foreign.Error(), "riscv64") || !strings.Contains(foreign.Remedy(), "linux-image-cloud-riscv64") || strings.Contains(foreign.Remedy(), "apt install") {
				t.Errorf("for another architecture: %v; %s", foreign, foreign.Remedy())
			}
		})
	}
	t.Run("the hint prefers unreadable kernels", func(t *testing.T) {
		err := &NoKernelError{Arch: runtime.GOARCH, Rejected: []error{&NotKernelError{Path: "/boot/a"}, &UnreadableError{Path: "/boot/b"}}}
		if !strings.Contains(err.Remedy(), "chmod a+r /boot/b") {
			t.Errorf("remedy %q does not make /boot/b readable", err.Remedy())
		}
	})
}

func TestCompareReleases(t *testing.T) {
	ordered := []string{
		"5.15.0", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.1.10", "6.5-rc2", "6.5.0-rc10", "6.5.0", "6.5.0-1", "6.12.1-arch1-1", "10.0",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			got := compareReleases(a, b)
			if want := i - j; sign(got) != sign(want) {
				t.Errorf("compareReleases(%s, %s) = %d, want the sign of %d", a, b, got, want)
			}
		}
	}
}

func sign(n int) int { return max(-1, min(n, 1)) }

func TestHostOnThisHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux hosts lend their kernel")
	}
	k, err := Host(runtime.GOARCH)
	var none *NoKernelError
	if errors.As(err, &none) {
		t.Skipf("CI installs a kernel package, this host has none: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	names, err := k.Modules(Needs{Shares: true, Network: true})
	if err != nil {
		t.Fatal(err)
	}
	files, err := k.resolve(names)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := readModule(filepath.Join(k.ModuleTree, f))
		if err != nil {
			t.Errorf("module %s: %v", f, err)
		}
		if !strings.HasPrefix(string(data), "\x7fELF") {
			t.Errorf("module %s was not unpacked to an ELF file", f)
		}
	}
	if slices.Contains(names, "virtiofs") && len(files) == 0 {
		t.Logf("all of %v is built into %s", names, k.Release)
	}
}
