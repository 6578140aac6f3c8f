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

// oldest is the first QEMU that can do all that machines need: datagram sockets for
// network cards.
var oldest = qemuVersion{7, 2}

// qemuVersion is a version's major and minor number.
type qemuVersion [2]int

func (v qemuVersion) before(w qemuVersion) bool { return v[0] < w[0] || v[0] == w[0] && v[1] < w[1] }

// versionTimeout is for a program that is no QEMU.
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
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	text, version, ok := parseVersion(string(out))
	switch {
	case err != nil || !ok:
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Bad, Detail: fmt.Sprintf("%s does not tell its version: it said %q (%v)", path, firstLine(errors.New(string(out))), err),
			Remedy: "install QEMU anew: " + platforms[runtime.GOARCH].install,
		}
	case version.before(oldest):
		return doctor.Finding{
			Topic: topic, Verdict: doctor.Bad, Detail: fmt.Sprintf("%s is version %s, too old", path, text),
			Remedy: fmt.Sprintf("install QEMU %d.%d or newer", oldest[0], oldest[1]),
		}
	}
	return doctor.Finding{Topic: topic, Detail: fmt.Sprintf("%s, %s", text, path)}
}

// versionLine is the first that QEMU prints: "QEMU emulator version 7.2.22 (Debian …)".
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

// examineKVM says how machines run, and why not better.
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
		f.Detail += "STEAD_ACCEL=tcg asks for that"
		f.Remedy = "unset STEAD_ACCEL, and KVM is used where it works"
	case errors.Is(err, fs.ErrNotExist):
		f.Remedy = "enable virtualization in the host's firmware (nested virtualization, if it is a virtual machine itself)"
	default:
		f.Remedy = "if this host is a virtual machine, have nested virtualization enabled for it; it is tried again after a restart of the host"
	}
	return f
}

func examineNested(caps hypervisor.Capabilities) doctor.Finding {
	const topic = "nested"
	if caps.Nested {
		return doctor.Finding{Topic: topic, Detail: "machines can have /dev/kvm"}
	}
	// What to do follows the reason.
	why, remedy, _ := strings.Cut(caps.NestedWhy, "; ")
	return doctor.Finding{Topic: topic, Verdict: doctor.Poor, Detail: "machines cannot have /dev/kvm: " + why, Remedy: remedy}
}
