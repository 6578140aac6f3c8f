//go:build linux

package qemu

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/hypervisor"
)

func TestAgentServesAHostThatHasOnlyVsockAndDHCP(t *testing.T) {
	m := bootVsock(t, func([]byte, *hypervisor.Config) {})
	status, err := m.client.WaitReady(m.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status.Address != "10.0.2.15" {
		t.Errorf("the machine's address is %q, want that of QEMU's DHCP server", status.Address)
	}
	c := m.connect()
	for path, want := range map[string]string{
		"/etc/hosts":       "10.0.2.15\tdev dev.machine\n",
		"/etc/resolv.conf": "nameserver 10.0.2.3\n",
		"/proc/net/route":  "\neth0\t00000000\t0202000A\t",
	} {
		if got := m.output(c, "show "+path); !strings.Contains(got, want) {
			t.Errorf("%s holds %q, want %q in it", path, got, want)
		}
	}
	t.Run("a session has streams and an exit status", func(t *testing.T) { m.streams(t, c) })
	t.Run("a process of the machine does not reach the control port", func(t *testing.T) {
		for _, cid := range []int{1, guestCID} {
			command := fmt.Sprintf("dial %d %d", cid, guest.ControlPort)
			if got := m.output(c, command); got != "reached refused" {
				t.Errorf("%s: %q", command, got)
			}
		}
	})
	t.Run("a lost connection hangs up and is followed by another", func(t *testing.T) { m.loseConnection(t, c) })
	t.Run("a wake renews the lease", m.wake)
}

func (m vsockMachine) streams(t *testing.T, c *ssh.Client) {
	data := make([]byte, 10<<20)
	_, _ = rand.Read(data)
	s := m.session(c)
	s.Stdin = bytes.NewReader(data)
	if got, err := s.Output("cat"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back as %d, or changed; %v", len(data), len(got), err)
	}
	var exit *ssh.ExitError
	if err := m.session(c).Run("exit 7"); !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("exit 7 ended with %v", err)
	}
}

func (m vsockMachine) loseConnection(t *testing.T, c *ssh.Client) {
	s := m.session(c)
	stdout, err := s.StdoutPipe()
	if err := errors.Join(err, s.Start("hold /run/hangup")); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(stdout, make([]byte, len("up\n")))
	m.device.Reset()
	if err := c.Wait(); err == nil {
		t.Error("the connection ended in good order")
	}
	if _, err := m.client.Status(m.ctx); err != nil {
		t.Errorf("Status on a new connection = %v", err)
	}
	if got := m.output(m.connect(), "show /run/hangup"); got != "hung up" {
		t.Errorf("the command of the lost connection noted %q", got)
	}
}

// wake sets the clock, as the supervisor does after the host has slept.
func (m vsockMachine) wake(t *testing.T) {
	if err := m.client.SetClock(m.ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for {
		if strings.Contains(m.console.String(), "lease renewed") {
			return
		}
		select {
		case <-m.ctx.Done():
			t.Fatal("the lease was not renewed")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestDamagedSettingsAreReportedOverVsock(t *testing.T) {
	m := bootVsock(t, func(initramfs []byte, _ *hypervisor.Config) {
		at := bytes.Index(initramfs, []byte(`{"hostname":"dev"`))
		initramfs[at] = '<'
	})
	_, err := m.client.WaitReady(m.ctx)
	var told *guest.BootError
	if !errors.As(err, &told) || !strings.Contains(told.Err.Error(), "this boot's settings are damaged") {
		t.Errorf("WaitReady = %v", err)
	}
}

func TestMachineIsReadyWithoutADHCPServer(t *testing.T) {
	machine, wire, err := hypervisor.PacketPair() // the other end never answers
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	m := bootVsock(t, func(_ []byte, c *hypervisor.Config) { c.Network.Packets = machine })
	status, err := m.client.WaitReady(m.ctx)
	if err != nil || status.Address != "" {
		t.Errorf("status %+v, %v, want ready and no address", status, err)
	}
	if out := m.output(m.connect(), "show /etc/hosts"); !strings.Contains(out, "127.0.1.1\tdev") {
		t.Errorf("hosts:\n%s", out)
	}
}
