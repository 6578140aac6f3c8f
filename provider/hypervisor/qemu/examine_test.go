//go:build linux

package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// versioned returns the script of a QEMU that answers --version, and otherwise runs the
// given commands.
func versioned(line, otherwise string) string {
	return `if [ "$1" = --version ]; then echo "` + line + `"; exit; fi` + "\n" + otherwise
}

const current = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"

// finding returns the finding of a topic.
func finding(t *testing.T, all []doctor.Finding, topic string) doctor.Finding {
	t.Helper()
	for _, f := range all {
		if f.Topic == topic {
			return f
		}
	}
	t.Fatalf("no finding about %s: %+v", topic, all)
	return doctor.Finding{}
}

func wantFinding(t *testing.T, f doctor.Finding, v doctor.Verdict, detail, remedy string) {
	t.Helper()
	if f.Verdict != v || !strings.Contains(f.Detail, detail) || !strings.Contains(f.Remedy, remedy) || (f.Remedy == "") != (remedy == "") {
		t.Errorf("finding = %+v, want %v with detail %q and remedy %q", f, v, detail, remedy)
	}
}

func TestExamineReportsOnQEMU(t *testing.T) {
	tests := map[string]struct {
		says           string
		verdict        doctor.Verdict
		detail, remedy string
	}{
		"Debian's":        {says: current, detail: "7.2.22, "},
		"newer":           {says: "QEMU emulator version 10.0.2", detail: "10.0.2, "},
		"too old":         {"QEMU emulator version 6.2.0 (Debian)", doctor.Bad, "version 6.2.0, which is too old", "QEMU 7.2 or newer"},
		"just older":      {"QEMU emulator version 7.1.94", doctor.Bad, "too old", "7.2"},
		"another program": {"hello", doctor.Bad, `printed "hello"`, "reinstall QEMU"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := newFakeHost(t, versioned(tt.says, "exit 1")).driver(t, accelTCG, "digest")
			found := d.Examine(t.Context())
			wantFinding(t, finding(t, found, "QEMU"), tt.verdict, tt.detail, tt.remedy)
			if tt.verdict == doctor.Bad && len(found) != 1 {
				t.Errorf("without QEMU, Examine also found %+v", found[1:])
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		h := newFakeHost(t, "")
		if err := os.Remove(h.binary); err != nil {
			t.Fatal(err)
		}
		found := h.driver(t, accelTCG, "digest").Examine(t.Context())
		wantFinding(t, finding(t, found, "QEMU"), doctor.Bad, "is not installed", "install QEMU")
	})
}

func TestExamineReportsTheAcceleratorAndWhy(t *testing.T) {
	tests := map[string]struct {
		accel          string
		noKVM          bool
		verdict        doctor.Verdict
		detail, remedy string
	}{
		"emulated on demand":         {accelTCG, false, doctor.Poor, "STEAD_ACCEL=tcg", "unset STEAD_ACCEL"},
		"emulated without /dev/kvm":  {accelAuto, true, doctor.Poor, "no such file", "firmware"},
		"emulated because KVM fails": {accelAuto, false, doctor.Poor, "failed to set MSR 0x10a", "nested virtualization"},
		"KVM required, but it fails": {accelKVM, false, doctor.Bad, "failed to set MSR 0x10a", "STEAD_ACCEL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t, versioned(current, brokenKVM))
			d := h.driver(t, tt.accel, "digest")
			if tt.noKVM {
				d.kvm = filepath.Join(h.dir, "absent")
			}
			wantFinding(t, finding(t, d.Examine(t.Context()), "KVM"), tt.verdict, tt.detail, tt.remedy)
		})
	}
	t.Run("KVM without a test", func(t *testing.T) {
		h := newFakeHost(t, versioned(current, ""))
		d := h.driver(t, accelAuto, "digest")
		d.opts.ProbeBoot = nil
		wantFinding(t, finding(t, d.Examine(t.Context()), "KVM"), doctor.Good, "runs guests", "")
	})
}

func TestExamineReportsNestedVirtualization(t *testing.T) {
	wantFinding(t, examineNested(hypervisor.Capabilities{Nested: true}), doctor.Good, "/dev/kvm", "")
	wantFinding(t, examineNested(hypervisor.Capabilities{NestedWhy: "it is switched off; switch it on"}), doctor.Poor, "it is switched off", "switch it on")
}
