//go:build linux

package qemu

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/ext4"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
	"github.com/stead-vm/stead/provider/share/vhostuser/vsocktest"
)

// guestCID is the same for all machines here: each has a vsock host of its own.
const guestCID = 3

// vsockMachine is a machine as a hypervisor with vsock runs it: its agent finds no
// virtio-serial port of its name, and its network uses DHCP.
type vsockMachine struct {
	t         *testing.T
	ctx       context.Context
	vm        hypervisor.VM
	device    *vsocktest.Device
	client    *guest.Client
	clientKey ssh.Signer
	hostKey   ssh.PublicKey
	console   fmt.Stringer
}

// bootVsock boots the real agent on a disk that holds only testdata/sh. spoil may change
// the initramfs, which holds the boot's settings as text, and the hardware.
func bootVsock(t *testing.T, spoil func(initramfs []byte, c *hypervisor.Config)) vsockMachine {
	t.Helper()
	return newLab(t).bootVsock(t, guest.Boot{}, spoil)
}

// bootVsock boots with the settings in more, to which it adds those that every boot needs.
func (l lab) bootVsock(t *testing.T, more guest.Boot, spoil func(initramfs []byte, c *hypervisor.Config)) vsockMachine {
	t.Helper()
	dir := l.config.RunDir
	host, client, err := guest.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	m := vsockMachine{t: t, console: l.console}
	var err1, err2 error
	m.clientKey, err1 = client.Signer()
	m.hostKey, err2 = host.PublicKey()
	tell := more
	tell.Hostname, tell.Time, tell.User = "dev", time.Now(), guest.User{Name: "root"}
	tell.Network, tell.HostKey, tell.ClientKey = &guest.Network{DHCP: true}, host.Private, client.Public
	packed := l.agentInitramfs(t, tell)
	spoil(packed, &l.config)
	writeRoot(t, l.config.Disks[0].Path)
	socket := filepath.Join(dir, "vsock.sock")
	l.driver.opts.Binary = qemuWithVsock(t, socket)
	l.config.Cmdline = "loglevel=6" // shows the agent's log
	if err := errors.Join(err1, err2, os.WriteFile(l.config.Initrd, packed, 0o600)); err != nil {
		t.Fatal(err)
	}
	m.device = vsocktest.Start(t, socket, guestCID)
	m.client = guest.NewClient(m.device.Dial)
	t.Cleanup(m.client.Close)
	m.start(l)
	return m
}

func (m *vsockMachine) start(l lab) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), vmTimeout)
	m.ctx = ctx
	vm, err := l.driver.Start(ctx, l.config)
	if err != nil {
		m.t.Fatal(err)
	}
	m.vm = vm
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("console:\n%s", m.console)
		}
		if err := vm.Kill(context.Background()); err != nil {
			m.t.Error(err)
		}
		cancel()
	})
}

// agentInitramfs returns the initramfs of a machine whose host dials over vsock. Its
// kernel also has vsock's loopback.
func (l lab) agentInitramfs(t *testing.T, boot guest.Boot) []byte {
	t.Helper()
	modules, err := l.kernel.Modules(kernel.Needs{Network: true, Vsock: true, Shares: len(boot.Mounts) > 0})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = kernel.Initramfs(&b, kernel.InitramfsOptions{
		Agent: program(t, "../../../cmd/stead-agent"), Boot: boot, Kernel: l.kernel,
		Modules: append(modules, "vsock_loopback"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// program builds a program for the guest. It uses the Makefile's flags, so most of it is
// in Go's build cache.
func program(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// writeRoot writes the machine's disk.
func writeRoot(t *testing.T, path string) {
	t.Helper()
	shell := program(t, "testdata/sh")
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err1 := w.WriteHeader(&tar.Header{Name: "bin/sh", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(shell))})
	_, err2 := w.Write(shell)
	disk, err3 := os.Create(path)
	if err := errors.Join(err1, err2, err3, w.Close()); err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	open := func() (io.ReadCloser, error) { return io.NopCloser(&layer), nil }
	if _, err := ext4.Write(t.Context(), disk, []ext4.Layer{{Name: "root", Open: open}}, ext4.Options{Size: ext4.MinSize, Digest: "test"}); err != nil {
		t.Fatal(err)
	}
}

// qemuWithVsock writes a script that runs QEMU with a vsock device and another name for
// the agent's port.
func qemuWithVsock(t *testing.T, socket string) string {
	t.Helper()
	script := fmt.Sprintf(`#!/bin/sh
for a; do
	shift
	case $a in *,name=%s) a=${a%%,*},name=not.ours ;; esac
	set -- "$@" "$a"
done
exec %s "$@" -chardev socket,id=vsock,path=%s -device vhost-user-vsock-pci,chardev=vsock
`, guest.AgentPortName, platforms[runtime.GOARCH].binary, socket)
	path := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// connect opens an SSH connection as the supervisor does.
func (m vsockMachine) connect() *ssh.Client {
	m.t.Helper()
	conn, chans, reqs, err := guest.DialSSH(m.ctx, m.device.Dial, m.clientKey, m.hostKey)
	if err != nil {
		m.t.Fatal(err)
	}
	c := ssh.NewClient(conn, chans, reqs)
	m.t.Cleanup(func() { c.Close() })
	return c
}

func (m vsockMachine) session(c *ssh.Client) *ssh.Session {
	m.t.Helper()
	s, err := c.NewSession()
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m vsockMachine) output(c *ssh.Client, command string) string {
	m.t.Helper()
	s := m.session(c)
	var errs strings.Builder
	s.Stderr = &errs
	out, err := s.Output(command)
	if err != nil {
		m.t.Fatalf("%s: %v: %s", command, err, errs.String())
	}
	return string(out)
}
