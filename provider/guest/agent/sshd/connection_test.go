//go:build linux

package sshd_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stead-vm/stead/provider/guest"
)

func TestWrongKeysAreRefused(t *testing.T) {
	m := newMachine(t)
	other, _, err := guest.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	signer, err1 := other.Signer()
	public, err2 := other.PublicKey()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := guest.DialSSH(t.Context(), m.link(t).Dial, signer, m.hostKey); err == nil {
		t.Error("a foreign client key was accepted")
	}
	if _, _, _, err := guest.DialSSH(t.Context(), m.link(t).Dial, m.clientKey, public); err == nil {
		t.Error("a foreign host key was accepted")
	}
}

func TestDialSSHEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, b := net.Pipe()
	defer b.Close()
	dial := func(context.Context, uint32) (net.Conn, error) {
		cancel()
		return a, nil
	}
	m := newMachine(t)
	if _, _, _, err := guest.DialSSH(ctx, dial, m.clientKey, m.hostKey); !errors.Is(err, context.Canceled) {
		t.Errorf("DialSSH = %v, want a cancelled context", err)
	}
}
