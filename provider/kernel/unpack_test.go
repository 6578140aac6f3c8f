package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"
)

// pvh is a vmlinux that can be started directly, ordinary is one that cannot.
var (
	pvh      = vmlinux("Linux version 6.1.0 (gcc)", append(note("Xen\x00", 6, "linux\x00"), note("Xen\x00", xenPhys32Entry, "12345678")...))
	ordinary = vmlinux("Linux version 6.1.0 (gcc)", note("GNU\x00", xenPhys32Entry, "12345678"))
)

func TestUnpackFindsTheKernelInside(t *testing.T) {
	tests := map[string][]byte{
		"gzip": gzipped(t, pvh),
		"zstd": sized(zstded(t, pvh), len(pvh)),
		"lz4":  sized(lz4ed(t, pvh), len(pvh)),
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			root := write(t, map[string]string{"vmlinuz": string(bzImage("6.1.0", payload))})
			cache := filepath.Join(root, "cache")
			for _, round := range []string{"first", "cached"} {
				got, err := Unpack(filepath.Join(root, "vmlinuz"), cache)
				if err != nil {
					t.Fatalf("%s: %v", round, err)
				}
				if filepath.Dir(got) != cache {
					t.Fatalf("%s: Unpack = %s, want a file in %s", round, got, cache)
				}
				data, err := os.ReadFile(got)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(data, pvh) {
					t.Errorf("%s: the unpacked kernel differs", round)
				}
			}
		})
	}
}

func TestUnpackLeavesOtherKernelsAlone(t *testing.T) {
	tests := map[string][]byte{
		"no entry for a direct start": bzImage("6.1.0", gzipped(t, ordinary)),
		"unknown compression":         bzImage("6.1.0", []byte("\xfd7zXZ\x00 something")),
		"damaged":                     bzImage("6.1.0", gzipped(t, pvh)[:100]),
		"wrong size":                  bzImage("6.1.0", sized(zstded(t, pvh), len(pvh)-1)),
		"vmlinux":                     pvh,
		"arm64":                       arm64Image("6.1.0"),
		"empty":                       nil,
	}
	for name, image := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, map[string]string{"image": string(image)}), "image")
			got, err := Unpack(path, t.TempDir())
			if got != path || err != nil {
				t.Errorf("Unpack = %s, %v, want %s itself", got, err, path)
			}
		})
	}
}

func TestUnpackOnThisHost(t *testing.T) {
	k, err := Host(runtime.GOARCH)
	if err != nil || k.Arch != "amd64" {
		t.Skipf("CI has an amd64 kernel package installed, this host has none: %v", err)
	}
	path, err := Unpack(k.Path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if unpacked.Release != k.Release || unpacked.Arch != k.Arch {
		t.Errorf("%s is %s for %s, want %s for %s", path, unpacked.Release, unpacked.Arch, k.Release, k.Arch)
	}
}

func TestUnpackKeepsTheLastUsed(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	var unpacked []string
	for i := range keepUnpacked + 1 {
		path := filepath.Join(root, fmt.Sprint(i))
		if err := os.WriteFile(path, bzImage(fmt.Sprint(i), gzipped(t, pvh)), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Unpack(path, cache)
		if err != nil {
			t.Fatal(err)
		}
		unpacked = append(unpacked, got)
		age := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(got, age, age); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range unpacked {
		if _, err := os.Stat(path); (err == nil) != (i > 0) {
			t.Errorf("kernel %d of %d: %v, want only the oldest removed", i, len(unpacked), err)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add(bzImage("6.1.0", gzipped(f, pvh)))
	f.Add(bzImage("6.1.0", nil))
	f.Fuzz(func(_ *testing.T, image []byte) {
		if vmlinux, err := extract(image); err == nil {
			hasPVHEntry(vmlinux)
		}
	})
}

// sized appends the unpacked size as the kernel's build does.
func sized(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(packed, uint32(size))
}

func lz4ed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	err := w.Apply(lz4.LegacyOption(true))
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
