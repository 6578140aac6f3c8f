package hypervisor

import (
	"strings"
	"testing"
)

func TestWarningNamesTheMachinesArchitecture(t *testing.T) {
	caps := Capabilities{Archs: []string{"arm64", "amd64"}, Translates: "riscv64", Warning: "no KVM here"}
	for arch, want := range map[string]string{"arm64": caps.Warning, "riscv64": caps.Warning, "amd64": "this host (arm64) emulates"} {
		if got := caps.WarningFor(arch); !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("for %s: %q, want %q", arch, got, want)
		}
	}
	caps.Warning = ""
	if got := caps.WarningFor("arm64"); got != "" {
		t.Errorf("without a reason: %q", got)
	}
}
