package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstalledFindsTheKernelOfApplesContainer(t *testing.T) {
	image := func(release string) string { return string(arm64Image(release)) }
	tests := map[string]struct {
		files map[string]string
		link  string // target of default.kernel-arm64
		want  string
	}{
		"the default, even if it is not the newest": {
			files: map[string]string{"vmlinux-6.18.5-177": image("6.18.5"), "vmlinux-6.18.15-186": image("6.18.15")},
			link:  "vmlinux-6.18.5-177", want: "vmlinux-6.18.5-177",
		},
		"the newest, if there is no default": {
			files: map[string]string{"vmlinux-6.18.5-177": image("6.18.5"), "vmlinux-6.18.15-186": image("6.18.15"), "README": "hello"},
			want:  "vmlinux-6.18.15-186",
		},
		"the newest, if the default is missing": {
			files: map[string]string{"vmlinux-6.18.5-177": image("6.18.5")},
			link:  "vmlinux-6.18.15-186", want: "vmlinux-6.18.5-177",
		},
		"the newest of the bootable ones": {
			files: map[string]string{
				"vmlinux-6.18.5-177": image("6.18.5"), "vmlinuz-6.19": string(gzipped(t, arm64Image("6.19"))),
				"bzImage-6.20": string(bzImage("6.20", nil)), "folder/vmlinux-6.21": image("6.21"),
			},
			link: "vmlinuz-6.19", want: "vmlinux-6.18.5-177",
		},
		"a default that is a file": {
			files: map[string]string{"default.kernel-arm64": image("6.18.5"), "vmlinux-6.18.15": image("6.18.15")},
			want:  "default.kernel-arm64",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(write(t, tt.files))
			if err != nil {
				t.Fatal(err)
			}
			if tt.link != "" {
				if err := os.Symlink(tt.link, filepath.Join(dir, "default.kernel-arm64")); err != nil {
					t.Fatal(err)
				}
			}
			k, err := Installed(dir)
			if err != nil || k.Path != filepath.Join(dir, tt.want) || k.Arch != "arm64" {
				t.Errorf("Installed = %+v, %v, want %s", k, err, tt.want)
			}
		})
	}
}

func TestInstalledWithoutABootableKernel(t *testing.T) {
	for name, dir := range map[string]string{
		"nothing installed":          filepath.Join(t.TempDir(), "none"),
		"for another architecture":   write(t, map[string]string{"vmlinux": string(vmlinux("Linux version 6.1 (gcc)", nil))}),
		"no kernel in the directory": write(t, map[string]string{"notes": "hello"}),
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := Installed(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Installed = %+v, %v", k, err)
			}
		})
	}
}

func TestNoDefaultErrorSaysWhichKernelToSet(t *testing.T) {
	none := &NoDefaultError{Arch: "amd64"}
	if text := none.Error(); !strings.Contains(text, "amd64 machines on macOS") {
		t.Errorf("error is %q", text)
	}
	if text := none.Remedy(); !strings.Contains(text, "a bzImage") || !strings.Contains(text, "kernel = ") || strings.Contains(text, "apt") {
		t.Errorf("remedy is %q", text)
	}
}

func TestFormErrorNamesBothForms(t *testing.T) {
	dir := write(t, map[string]string{"vmlinuz": string(gzipped(t, arm64Image("6.19")))})
	var form *FormError
	if _, err := openImage(filepath.Join(dir, "vmlinuz")); !errors.As(err, &form) || !strings.Contains(form.Error(), "a gzipped Image") || !strings.Contains(form.Remedy(), "gunzip") {
		t.Errorf("openImage = %v, want a FormError", err)
	}
}
