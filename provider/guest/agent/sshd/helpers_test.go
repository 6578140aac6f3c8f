//go:build linux

package sshd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/account"
	"github.com/stead-vm/stead/provider/guest/agent/sshd"
	"github.com/stead-vm/stead/provider/guest/portmux"
	"github.com/stead-vm/stead/provider/guest/portmux/portmuxtest"
)

// The test program is also the SFTP program that the server starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "sftp" {
		if err := sshd.ServeSFTP(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// me is the name of the current user in the server's database.
const me = "tester"

// stranger is another user in the database, whom only root can become.
const (
	stranger   = "stranger"
	strangerID = 54321
)

type machine struct {
	server    *sshd.Server
	client    guest.Key
	host      guest.Key
	home      string
	hostKey   ssh.PublicKey
	clientKey ssh.Signer
}

// newMachine returns a server whose user database contains the current user.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return newMachineWith(t, func(*sshd.Options) {})
}

// newMachineWith is newMachine with other options.
func newMachineWith(t *testing.T, change func(*sshd.Options)) *machine {
	t.Helper()
	m := &machine{home: t.TempDir()}
	var err error
	if m.host, m.client, err = guest.NewKeys(); err != nil {
		t.Fatal(err)
	}
	hostSigner, err1 := m.host.Signer()
	clientPublic, err2 := m.client.PublicKey()
	m.hostKey, err = m.host.PublicKey()
	var err3 error
	m.clientKey, err3 = m.client.Signer()
	etc := t.TempDir()
	passwd := fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n%s:x:%d:%d::/:/bin/sh\n", me, os.Getuid(), os.Getgid(), m.home, stranger, strangerID, strangerID)
	group := fmt.Sprintf("mine:x:%d:\nextra:x:4242:%s,%s\n", os.Getgid(), me, stranger)
	err4 := os.WriteFile(filepath.Join(etc, "passwd"), []byte(passwd), 0o644)
	err5 := os.WriteFile(filepath.Join(etc, "group"), []byte(group), 0o644)
	if err := errors.Join(err, err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	options := sshd.Options{
		HostKey: hostSigner, ClientKey: clientPublic, Users: account.NewDB(etc), DefaultUser: me,
		Env: []string{"FROM_IMAGE=yes"}, SFTP: []string{"/proc/self/exe", "sftp"},
	}
	change(&options)
	m.server, err = sshd.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// link serves m over a multiplexed pipe, as a virtio-serial port would.
func (m *machine) link(t *testing.T) *portmux.Dialer {
	t.Helper()
	return portmuxtest.Serve(t, guest.SSHPort, m.server.Serve)
}

// connect opens a connection as the supervisor does.
func (m *machine) connect(t *testing.T) *ssh.Client {
	t.Helper()
	return m.connectOver(t, m.link(t).Dial)
}

func (m *machine) connectOver(t *testing.T, dial guest.DialFunc) *ssh.Client {
	t.Helper()
	conn, chans, reqs, err := guest.DialSSH(t.Context(), dial, m.clientKey, m.hostKey)
	if err != nil {
		t.Fatal(err)
	}
	c := ssh.NewClient(conn, chans, reqs)
	t.Cleanup(func() { c.Close() })
	return c
}

func session(t *testing.T, c *ssh.Client, env ...string) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		if err := s.Setenv(k, v); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run executes command and returns what it wrote and its exit status.
func run(t *testing.T, s *ssh.Session, command string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr = &out, &errs
	err := s.Run(command)
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitStatus()
	} else if err != nil {
		t.Fatalf("run %q: %v", command, err)
	}
	return out.String(), errs.String(), status
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user; CI also runs the tests as root")
	}
}

// rawKey returns the client's key in the form that an SSH agent accepts.
func rawKey(m *machine) (any, error) { return ssh.ParseRawPrivateKey([]byte(m.client.Private)) }
