//go:build linux

package sshd_test

import (
	"fmt"
	"io"
	"net"
	"testing"
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
