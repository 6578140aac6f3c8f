package kernel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stead-vm/stead/provider/regular"
)

func TestOpenDetectsForms(t *testing.T) {
	tests := map[string]struct {
		image []byte
		want  Kernel
	}{
		"release in the boot sector of a bzImage": {
			image: bzImage("6.1.0-56-cloud-amd64", nil),
			want:  Kernel{Release: "6.1.0-56-cloud-amd64", Arch: "amd64"},
		},
		"release in the banner of a vmlinux": {
			image: vmlinux("Linux version %s\x00Linux version 6.18.15 (gcc)\x00", nil),
			want:  Kernel{Release: "6.18.15", Arch: "amd64"},
		},
		"a banner across two reads": {
			image: vmlinux(string(make([]byte, 1<<20-130))+"Linux version 6.6.1 (gcc)", nil),
			want:  Kernel{Release: "6.6.1", Arch: "amd64"},
		},
		"arm64 Image": {
			image: arm64Image("6.12.1-arm64"),
			want:  Kernel{Release: "6.12.1-arm64", Arch: "arm64"},
		},
		"arm64 Image, gzipped": {
			image: gzipped(t, arm64Image("6.12.1-arm64")),
			want:  Kernel{Release: "6.12.1-arm64", Arch: "arm64"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := write(t, map[string]string{"image": string(tt.image)})
			tt.want.Path = filepath.Join(root, "image")
			got, err := openIn(root, tt.want.Path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Kernel{})); d != "" {
				t.Errorf("Kernel mismatch (-want +got):\n%s", d)
			}
		})
	}
}

func TestOpenRejectsOtherFiles(t *testing.T) {
	tests := map[string]string{
		"empty":          "",
		"text":           "#!/bin/sh\necho hello\n",
		"a program":      string(vmlinux("hello", nil)),
		"a gzipped text": string(gzipped(t, []byte("hello"))),
		"a broken gzip":  "\x1f\x8b\x08",
		"a broken ELF":   "\x7fELF",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, map[string]string{"image": text}), "image")
			_, err := Open(path)
			var notKernel *NotKernelError
			if !errors.As(err, &notKernel) || notKernel.Path != path || notKernel.Remedy() == "" {
				t.Errorf("Open = %v, want a NotKernelError for %s", err, path)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		var special *regular.TypeError
		if _, err := Open(t.TempDir()); !errors.As(err, &special) {
			t.Errorf("Open = %v, want a TypeError", err)
		}
	})
	t.Run("a named pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		var special *regular.TypeError
		if _, err := Open(path); !errors.As(err, &special) {
			t.Errorf("Open = %v, want a TypeError", err)
		}
		if _, err := FormOf(path); !errors.As(err, &special) {
			t.Errorf("FormOf = %v, want a TypeError", err)
		}
		if _, err := (Kernel{Path: path}).Digest(); !errors.As(err, &special) {
			t.Errorf("Digest = %v, want a TypeError", err)
		}
	})
	t.Run("a huge file", func(t *testing.T) {
		path := filepath.Join(write(t, map[string]string{"image": string(bzImage("6.8.0", nil))}), "image")
		if err := os.Truncate(path, 1<<40); err != nil {
			t.Fatal(err)
		}
		var large *regular.SizeError
		if _, err := Open(path); !errors.As(err, &large) {
			t.Errorf("Open = %v, want a SizeError", err)
		}
	})
	t.Run("a missing file", func(t *testing.T) {
		if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Open = %v, want ErrNotExist", err)
		}
	})
}

func TestOpenSaysHowToMakeAKernelReadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every file; CI also runs the tests as an ordinary user")
	}
	path := filepath.Join(write(t, map[string]string{"vmlinuz": string(bzImage("6.8.0", nil))}), "vmlinuz")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path)
	var unreadable *UnreadableError
	if !errors.As(err, &unreadable) || unreadable.Path != path {
		t.Errorf("Open = %v, want an UnreadableError", err)
	}
}

func TestModuleTreeIsFound(t *testing.T) {
	const release = "6.1.0"
	tests := map[string]struct{ image, tree string }{
		"beside the kernel":             {"k/vmlinuz", "k/lib/modules/6.1.0"},
		"beside the kernel's directory": {"k/boot/vmlinuz", "k/lib/modules/6.1.0"},
		"around the kernel":             {"k/6.1.0/vmlinuz", "k/6.1.0"},
		"in /lib/modules":               {"k/vmlinuz", "lib/modules/6.1.0"},
		"in /usr/lib/modules":           {"k/vmlinuz", "usr/lib/modules/6.1.0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := write(t, map[string]string{
				tt.image:                 string(bzImage(release, nil)),
				tt.tree + "/modules.dep": "",
			})
			k, err := openIn(root, filepath.Join(root, tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(root, tt.tree); k.ModuleTree != want {
				t.Errorf("ModuleTree = %q, want %q", k.ModuleTree, want)
			}
		})
	}
	t.Run("a release never leads outside", func(t *testing.T) {
		root := write(t, map[string]string{"k/vmlinuz": string(bzImage("../../etc", nil)), "etc/modules.dep": ""})
		k, err := openIn(root, filepath.Join(root, "k/vmlinuz"))
		if err != nil || k.ModuleTree != "" {
			t.Errorf("openIn = %+v, %v, want no module tree", k, err)
		}
	})
}

func TestDigest(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"k": "abc"}), "k")
	got, err := Kernel{Path: path}.Digest()
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; got != want || err != nil {
		t.Errorf("Digest = %s, %v, want %s", got, err, want)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(bzImage("6.1.0", nil))
	f.Add(arm64Image("6.1.0"))
	f.Add(gzipped(f, arm64Image("6.1.0")))
	f.Add(vmlinux("Linux version 6.1.0 (gcc)", nil))
	f.Fuzz(func(t *testing.T, image []byte) {
		h, err := parseHeader(io.NewSectionReader(bytes.NewReader(image), 0, int64(len(image))))
		if err == nil && h.arch == "" {
			t.Error("a kernel without an architecture")
		}
	})
}
