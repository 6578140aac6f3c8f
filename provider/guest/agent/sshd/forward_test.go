//go:build linux

package sshd_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestDirectTCPReachesTheGuestsLoopback(t *testing.T) {
	c := newMachine(t).connect(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		got, _ := io.ReadAll(conn) // ends only by the half-close
		fmt.Fprintf(conn, "got %s", got)
		conn.Close()
	}()
	conn, err := c.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "ping")
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(conn); string(got) != "got ping" {
		t.Errorf("answer = %q", got)
	}
	l.Close()
	if _, err := c.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("connected to a port without a listener")
	}
}

// TestAgentChannelCarriesTheRequestsPayload checks what a proxy needs to find the client
// of an agent connection.
func TestAgentChannelCarriesTheRequestsPayload(t *testing.T) {
	c := newMachine(t).connect(t)
	offers := c.HandleChannelOpen("auth-agent@openssh.com")
	s := session(t, c)
	if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, []byte("token-7")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	stdin, err1 := s.StdinPipe() // keeps the session and its socket open
	stdout, err2 := s.StdoutPipe()
	if err := errors.Join(err1, err2, s.Start(`echo $SSH_AUTH_SOCK; cat`)); err != nil {
		t.Fatal(err)
	}
	path := make([]byte, 256)
	n, _ := stdout.Read(path)
	socket := strings.TrimSpace(string(path[:n]))
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	offer := <-offers
	if got := string(offer.ExtraData()); got != "token-7" {
		t.Errorf("extra data = %q", got)
	}
	_ = offer.Reject(ssh.Prohibited, "")
	conn.Close()
	stdin.Close()
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}
