package guest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Key is one SSH key pair in the text forms that [Boot] and OpenSSH use.
type Key struct {
	Private string // OpenSSH PEM
	Public  string // authorized_keys form, without a newline
}

// NewKeys generates the agent's host key and the host's client key for one boot. Both are
// ed25519.
func NewKeys() (host, client Key, err error) {
	if host, err = newKey(); err != nil {
		return Key{}, Key{}, err
	}
	if client, err = newKey(); err != nil {
		return Key{}, Key{}, err
	}
	return host, client, nil
}

func newKey() (Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("generate an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "stead")
	if err != nil {
		return Key{}, fmt.Errorf("encode an SSH key: %w", err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encode an SSH key: %w", err)
	}
	return Key{
		Private: string(pem.EncodeToMemory(block)),
		Public:  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))),
	}, nil
}

// Signer parses the private key.
func (k Key) Signer() (ssh.Signer, error) {
	s, err := ssh.ParsePrivateKey([]byte(k.Private))
	if err != nil {
		return nil, fmt.Errorf("read an SSH private key: %w", err)
	}
	return s, nil
}

// PublicKey parses the public key.
func (k Key) PublicKey() (ssh.PublicKey, error) {
	p, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Public))
	if err != nil {
		return nil, fmt.Errorf("read an SSH public key: %w", err)
	}
	return p, nil
}
