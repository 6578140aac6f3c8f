//go:build linux

package qemu

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-vm/stead/provider/hypervisor"
)

func small(arch, accel string) hardware {
	return hardware{
		Config: hypervisor.Config{
			Name: "dev", CPUs: 2, Memory: 1 << 30, Kernel: "/k/vmlinuz", Initrd: "/run/initrd",
			Cmdline: "stead.debug",
		},
		platform: platforms[arch], accel: accel, monitor: 3, agent: 4, console: 7,
	}
}

func TestArguments(t *testing.T) {
	full := small("amd64", accelTCG)
	full.Disks = []hypervisor.Disk{{Path: "/m/dev/rootfs.ext4", Serial: "stead-root"}, {Path: "/m/tools.ext4", ReadOnly: true}}
	full.Shares = []hypervisor.Share{{Tag: "home", Path: "/home/me"}, {Tag: "modules", Path: "/lib/modules/6.1.0", ReadOnly: true}}
	full.Network = &hypervisor.Network{MAC: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}}
	full.shares = []int{5, 6}
	full.Nested = true

	tests := map[string]hardware{
		"amd64_kvm_small": small("amd64", accelKVM),
		"amd64_tcg_full":  full,
		"arm64_kvm_small": small("arm64", accelKVM),
		"arm64_tcg_small": small("arm64", accelTCG),
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			for _, a := range arguments(h) {
				if strings.HasPrefix(a, "-") && got.Len() > 0 {
					got.WriteString("\n")
				} else if got.Len() > 0 {
					got.WriteString(" ")
				}
				got.WriteString(a)
			}
			got.WriteString("\n")
			checkGolden(t, filepath.Join("testdata/golden", name+".golden"), got.String())
		})
	}
}

func checkGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, d)
	}
}

func TestArgumentsQuoteNamesWithCommas(t *testing.T) {
	h := small("amd64", accelKVM)
	h.Disks = []hypervisor.Disk{{Path: "/m/a,read-only=on"}}
	if got, want := strings.Join(arguments(h), " "), "file=/m/a,,read-only=on"; !strings.Contains(got, want) {
		t.Errorf("arguments do not contain %q:\n%s", want, got)
	}
}

func TestOnlyNestedMachinesSeeVirtualizationExtensions(t *testing.T) {
	for _, nested := range []bool{false, true} {
		h := small("amd64", accelKVM)
		h.Nested = nested
		a := arguments(h)
		cpu := a[slices.Index(a, "-cpu")+1]
		if hidden := strings.Contains(cpu, "svm=off,vmx=off"); hidden == nested {
			t.Errorf("with nested=%v, -cpu is %q", nested, cpu)
		}
	}
}
