package vz

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

func TestMemoryIsRoundedUpToMebibytes(t *testing.T) {
	for size, want := range map[int64]uint64{
		1 << 30: 1 << 30, 1<<30 + 1: 1<<30 + mebibyte, 1<<30 - 1: 1 << 30, 3_000_000_000: 2862 * mebibyte,
	} {
		if got := wholeMebibytes(size); got != want {
			t.Errorf("wholeMebibytes(%d) = %d, want %d", size, got, want)
		}
	}
}

func TestCallersParametersComeLast(t *testing.T) {
	const ours = "console=hvc0 quiet panic=0 cryptomgr.notests"
	for more, want := range map[string]string{
		"":                      ours,
		" panic=5   loglevel=7": ours + " panic=5 loglevel=7",
	} {
		if got := commandLine(more); got != want {
			t.Errorf("commandLine(%q) = %q, want %q", more, got, want)
		}
	}
}

func TestBootLoaderAcceptsOneFormOfKernel(t *testing.T) {
	image := make([]byte, 64)
	copy(image[0x38:], "ARM\x64")
	bzImage := make([]byte, 1024)
	bzImage[0x1fe], bzImage[0x1ff] = 0x55, 0xaa
	copy(bzImage[0x202:], "HdrS")
	gzipped := []byte{0x1f, 0x8b, 8}
	tests := map[string]struct {
		kernel []byte
		arch   string
		remedy string // empty: accepted
	}{
		"arm64, uncompressed":           {kernel: image, arch: "arm64"},
		"arm64, as Debian has it":       {kernel: gzipped, arch: "arm64", remedy: "gunzip -c '"},
		"arm64, as linked":              {kernel: []byte("\x7fELF\x02\x01\x01"), arch: "arm64", remedy: "arch/arm64/boot/Image"},
		"amd64, a bzImage":              {kernel: bzImage, arch: "amd64"},
		"amd64, as linked":              {kernel: []byte("\x7fELF\x02\x01\x01"), arch: "amd64", remedy: "arch/x86/boot/bzImage"},
		"another architecture's kernel": {kernel: bzImage, arch: "arm64", remedy: "arch/arm64/boot/Image"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kernel")
			if err := os.WriteFile(path, tt.kernel, 0o600); err != nil {
				t.Fatal(err)
			}
			err := checkKernel(path, tt.arch)
			if tt.remedy == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var form *kernel.FormError
			if !errors.As(err, &form) || !strings.Contains(form.Remedy(), tt.remedy) || !strings.Contains(form.Error(), path) {
				t.Errorf("checkKernel = %v, want a FormError with %q", err, tt.remedy)
			}
		})
	}
}

func TestFileThatIsNotAKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var none *kernel.NotKernelError
	if err := checkKernel(path, "arm64"); !errors.As(err, &none) {
		t.Errorf("checkKernel = %v, want a NotKernelError", err)
	}
}

func TestMissingKernelIsIgnored(t *testing.T) {
	if err := errors.Join(checkKernel("", "arm64"), checkKernel("/none", "arm64")); err != nil {
		t.Error(err)
	}
}

func TestMacOSVersions(t *testing.T) {
	for version, good := range map[string]bool{
		"13.0": true, "15.1.1": true, "26.0": true, "13": true,
		"12.7.6": false, "10.16": false, "": false, "of unknown version": false,
	} {
		err := checkVersion(version)
		var old *VersionError
		if good != (err == nil) || !good && (!errors.As(err, &old) || !errors.Is(err, hypervisor.ErrUnsupported) || old.Remedy() == "") {
			t.Errorf("checkVersion(%q) = %v, want good: %v", version, err, good)
		}
	}
}

func TestCheckRosetta(t *testing.T) {
	tests := map[string]struct {
		wanted bool
		has    rosetta
		remedy string // empty: no error
	}{
		"an image for this Mac":           {has: rosettaUnsupported},
		"it is installed":                 {wanted: true, has: rosettaInstalled},
		"it is not installed":             {wanted: true, has: rosettaMissing, remedy: "softwareupdate --install-rosetta --agree-to-license"},
		"this Mac has an Intel processor": {wanted: true, has: rosettaUnsupported, remedy: "choose an image"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := checkRosetta(tt.wanted, tt.has)
			var missing *RosettaError
			if errors.As(err, &missing) != (tt.remedy != "") {
				t.Fatalf("checkRosetta = %v, want an error: %v", err, tt.remedy != "")
			}
			if missing != nil && !strings.Contains(missing.Remedy(), tt.remedy) {
				t.Errorf("the remedy is %q, want %q", missing.Remedy(), tt.remedy)
			}
		})
	}
}

func TestNestedWhy(t *testing.T) {
	if why := nestedWhy(true); why != "" {
		t.Errorf("nestedWhy(true) = %q", why)
	}
	if why := nestedWhy(false); !strings.Contains(why, "macOS 15") || !strings.Contains(why, "M3") {
		t.Errorf("nestedWhy(false) = %q, want the macOS and the processor", why)
	}
}

func TestIdentityIsStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	if data, err := readIdentity(path); data != nil || err != nil {
		t.Fatalf("readIdentity = %q, %v, want none yet", data, err)
	}
	if err := keepIdentity(path, []byte("machine 1")); err != nil {
		t.Fatal(err)
	}
	if data, err := readIdentity(path); string(data) != "machine 1" || err != nil {
		t.Errorf("readIdentity = %q, %v, want what was kept", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity: %v, %v, want mode 0600", info, err)
	}
}

func TestDamagedIdentityIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readIdentity(path)
	var damaged *IdentityError
	if !errors.As(err, &damaged) || !strings.Contains(damaged.Remedy(), "rm '"+path+"'") {
		t.Errorf("readIdentity = %v, want an IdentityError that says how to go on", err)
	}
	if _, err := readIdentity(filepath.Dir(path)); err == nil {
		t.Error("a directory was read as an identity")
	}
}

func TestIdentityWithoutAPathIsNotStored(t *testing.T) {
	data, err := readIdentity("")
	if err := errors.Join(err, keepIdentity("", []byte("x"))); data != nil || err != nil {
		t.Errorf("readIdentity = %q, %v", data, err)
	}
}
