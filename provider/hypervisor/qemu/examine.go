//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/doctor"
	"github.com/stead-vm/stead/provider/hypervisor"
)

// oldest is the first supported QEMU: older ones have no datagram sockets for network
// cards.
var oldest = qemuVersion{7, 2}

// qemuVersion is a version's major and minor number.
type qemuVersion [2]int

func (v qemuVersion) before(w qemuVersion) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

// versionTimeout bounds a program that is not QEMU.
const versionTimeout = 10 * time.Second

// Examine implements [hypervisor.Driver].
func (d *Driver) Examine(ctx context.Context) []doctor.Finding {
	binary := d.examineBinary(ctx)
	if binary.Verdict == doctor.Bad {
		return []doctor.Finding{binary}
	}
	findings := []doctor.Finding{binary, d.examineKVM(ctx)}
	if caps, err := d.Capabilities(ctx); err == nil {
		findings = append(findings, examineNested(caps))
	}
	return findings
}

func (d *Driver) examineBinary(ctx context.Context) doctor.Finding {
	const topic = "QEMU"
	path, err := d.binary(runtime.GOARCH)
	if err != nil {
		return doctor.Problem(topic, doctor.Bad, err)
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = time.Second // a child of a script that is killed may keep the pipe open
	out, err := cmd.Output()
	text, version, ok := parseVersion(string(out))
	switch {
	case err != nil || !ok:
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Bad, Detail: fmt.Sprintf("%s --version printed %q, not QEMU's version (%v)", path, firstLine(errors.New(string(out))), err),
			Remedy: fmt.Sprintf("reinstall QEMU (on Debian: %q)", platforms[runtime.GOARCH].install),
		}
	case version.before(oldest):
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Bad, Detail: fmt.Sprintf("%s is version %s, which is too old", path, text),
			Remedy: fmt.Sprintf("install QEMU %d.%d or newer", oldest[0], oldest[1]),
		}
	}
	return doctor.Finding{Topic: topic, Detail: fmt.Sprintf("%s, %s", text, path)}
}

// versionLine matches the first line that QEMU prints: "QEMU emulator version 7.2.22 (Debian …)".
var versionLine = regexp.MustCompile(`^QEMU emulator version ((\d+)\.(\d+)\S*)`)

func parseVersion(out string) (text string, v qemuVersion, ok bool) {
	found := versionLine.FindStringSubmatch(out)
	if found == nil {
		return "", v, false
	}
	major, err1 := strconv.Atoi(found[2])
	minor, err2 := strconv.Atoi(found[3])
	return found[1], qemuVersion{major, minor}, err1 == nil && err2 == nil
}

// examineKVM reports which accelerator machines use, and why it is not KVM.
func (d *Driver) examineKVM(ctx context.Context) doctor.Finding {
	const topic = "KVM"
	v, err := d.decide(ctx, runtime.GOARCH)
	switch {
	case err != nil:
		return doctor.Problem(topic, doctor.Bad, err)
	case v.Accel == accelKVM:
		return doctor.Finding{Topic: topic, Detail: "runs guests"}
	}
	f := doctor.Finding{Topic: topic, Verdict: doctor.Poor, Detail: "machines are emulated and several times slower: " + v.Why}
	switch _, err := os.Stat(d.kvm); {
	case d.opts.Accel == accelTCG:
		f.Detail += "STEAD_ACCEL=tcg is set"
		f.Remedy = "unset STEAD_ACCEL to use KVM if it works"
	case errors.Is(err, fs.ErrNotExist):
		f.Remedy = "enable virtualization in the host's firmware (or nested virtualization, if the host is a virtual machine)"
	default:
		f.Remedy = "enable nested virtualization for this host if it is a virtual machine; stead tests KVM again after the host restarts"
	}
	return f
}

func examineNested(caps hypervisor.Capabilities) doctor.Finding {
	const topic = "nested"
	if caps.Nested {
		return doctor.Finding{Topic: topic, Detail: "machines can have /dev/kvm"}
	}
	// NestedWhy is "REASON; WHAT TO DO".
	why, remedy, _ := strings.Cut(caps.NestedWhy, "; ")
	return doctor.Finding{Topic: topic, Verdict: doctor.Poor, Detail: "machines cannot have /dev/kvm: " + why, Remedy: remedy}
}
