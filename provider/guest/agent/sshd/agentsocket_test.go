//go:build linux

package sshd_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/agent/sshd"
)

// agentSession is a session that runs until its input ends.
type agentSession struct {
	*ssh.Session
	stdin  io.Closer
	socket string // empty: it has none
}

// startAgentSession starts a session that asks for an SSH agent, or one that does not.
func startAgentSession(t *testing.T, c *ssh.Client, asks bool, env ...string) agentSession {
	t.Helper()
	s := session(t, c, env...)
	if asks {
		if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, []byte("token-7")); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	stdin, err1 := s.StdinPipe() // keeps the session and its socket open
	stdout, err2 := s.StdoutPipe()
	if err := errors.Join(err1, err2, s.Start(`echo "$SSH_AUTH_SOCK"; cat`)); err != nil {
		t.Fatal(err)
	}
	path := make([]byte, 256)
	n, _ := stdout.Read(path)
	return agentSession{s, stdin, strings.TrimSpace(string(path[:n]))}
}

func (s agentSession) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.stdin.Close(), s.Wait()); err != nil {
		t.Error(err)
	}
}

// withAgents returns a connection to a machine, the agent channels that it opens, and the
// directory of its sockets.
func withAgents(t *testing.T) (*ssh.Client, <-chan ssh.NewChannel, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	c := newMachineWith(t, func(o *sshd.Options) { o.AgentDir = dir }).connect(t)
	return c, c.HandleChannelOpen("auth-agent@openssh.com"), dir
}

// TestAgentChannelCarriesTheRequestsPayload checks what a proxy needs to find the session of an
// agent connection.
func TestAgentChannelCarriesTheRequestsPayload(t *testing.T) {
	c, offers, _ := withAgents(t)
	s := startAgentSession(t, c, true)
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	offer := <-offers
	if got := string(offer.ExtraData()); got != "token-7" {
		t.Errorf("extra data = %q", got)
	}
	_ = offer.Reject(ssh.Prohibited, "")
	s.end(t)
}

func TestAgentSocketIsForItsSessionOnly(t *testing.T) {
	c, offers, dir := withAgents(t)
	s := startAgentSession(t, c, true)
	other := startAgentSession(t, c, true)
	without := startAgentSession(t, c, false)
	if without.socket != "" {
		t.Errorf("a session that has not asked has the socket %s", without.socket)
	}
	if filepath.Dir(filepath.Dir(s.socket)) != dir || filepath.Dir(s.socket) == filepath.Dir(other.socket) {
		t.Errorf("sockets are %s and %s", s.socket, other.socket)
	}
	if name := filepath.Base(filepath.Dir(s.socket)); len(name) < 26 { // 128 bits in base32
		t.Errorf("the directory's name can be guessed: %s", name)
	}
	for path, want := range map[string]os.FileMode{s.socket: 0o600 | os.ModeSocket, filepath.Dir(s.socket): 0o700 | os.ModeDir} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
			t.Errorf("%s: %v, %v; want %v", path, info, err, want)
		}
	}
	// A program that outlives the session loses its connection.
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, requests, err := (<-offers).Accept()
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	s.end(t)
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, channel); err != nil {
		t.Errorf("the channel ended with %v", err)
	}
	channel.Close()
	if _, err := os.Stat(filepath.Dir(s.socket)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := os.Stat(other.socket); err != nil {
		t.Errorf("the socket of another session is gone: %v", err)
	}
	other.end(t)
	without.end(t)
}

func TestAgentSocketBelongsToTheSessionsUser(t *testing.T) {
	needRoot(t)
	c, _, _ := withAgents(t)
	s := startAgentSession(t, c, true, guest.EnvUser+"="+stranger)
	for _, path := range []string{s.socket, filepath.Dir(s.socket)} {
		info, err := os.Stat(path)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != strangerID || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	s.end(t)
}
