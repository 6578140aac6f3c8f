//go:build linux

package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// What makes a machine itself, and what images carry by mistake. A new machine gets its own: two
// machines with the same machine-id get the same DHCP address, and with the same host keys each can
// pass for the other.

// identityRecord, on the machine's disk, says which machine the disk is.
const identityRecord = stateDir + "/identity"

// randomSeeds are files from which inits fill the kernel's pool: systemd, Debian's and others'
// sysvinit, OpenRC, runit.
var randomSeeds = []string{"var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/random-seed", "var/lib/misc/random-seed", "var/lib/seedrng"}

// ensureIdentity gives the disk at root the identity of a machine, if it is not that machine's. A
// disk that an older agent has booted keeps what it has.
func ensureIdentity(root, machine string) error {
	record := filepath.Join(root, identityRecord)
	mark, err := readOptional(record)
	if err != nil || machine == "" {
		return err
	}
	if strings.TrimSpace(mark) == machine {
		return nil
	}
	if mark != "" || !bootedBefore(root) {
		if err := renewIdentity(root); err != nil {
			return err
		}
	}
	return replaceFile(record, machine+"\n", 0o644)
}

// bootedBefore reports whether an agent that kept no record has booted the disk: it always wrote
// the machine's names.
func bootedBefore(root string) bool {
	text, _ := readOptional(filepath.Join(root, "etc/hosts")) // then this boot writes it
	for line := range strings.Lines(text) {
		if formerNames(line) {
			return true
		}
	}
	return false
}

func renewIdentity(root string) error {
	problems := []error{forgetMachineID(root), renewHostKeys(filepath.Join(root, "etc/ssh"))}
	for _, seed := range randomSeeds {
		problems = append(problems, os.RemoveAll(filepath.Join(root, seed)))
	}
	return errors.Join(problems...)
}

// forgetMachineID removes the machine's ID. Systemd machines get a new one in this boot; D-Bus has
// one of its own, or a link.
func forgetMachineID(root string) error {
	var problems []error
	for _, path := range []string{"etc/machine-id", "var/lib/dbus/machine-id"} {
		path = filepath.Join(root, path)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			problems = append(problems, os.Remove(path))
		}
	}
	return errors.Join(problems...)
}

// renewHostKeys replaces the SSH host keys of the image by new ones of the same kinds. It does not
// only remove them, because not every distribution makes missing ones at boot.
func renewHostKeys(dir string) error {
	paths, _ := filepath.Glob(filepath.Join(dir, "ssh_host_*_key")) // the pattern is valid
	var problems []error
	for _, path := range paths {
		kind := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "ssh_host_"), "_key")
		if err := renewHostKey(path, kind); err != nil {
			problems = append(problems, fmt.Errorf("make a new %s: %w", path, err))
		}
	}
	return errors.Join(problems...)
}

// rsaBits is the size that ssh-keygen(1) gives RSA keys.
const rsaBits = 3072

func renewHostKey(path, kind string) error {
	private, err := newKey(kind)
	if err != nil {
		return err
	}
	if private == nil { // of a kind that OpenSSH no longer makes
		return errors.Join(os.Remove(path), os.RemoveAll(path+".pub"))
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		replaceFile(path, string(pem.EncodeToMemory(block)), 0o600),
		replaceFile(path+".pub", string(ssh.MarshalAuthorizedKey(public)), 0o644))
}

// newKey returns a key of the kind that is in a host key's name, or nil if there is no such kind.
func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, nil
}
