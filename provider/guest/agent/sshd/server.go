//go:build linux

// Package sshd gives the host sessions in the guest over SSH.
//
// An image need not have an sshd, and one that is there need not be told about stead:
// this server comes with the agent, is reached over a private device, accepts one key
// that lives for one boot, and starts processes without PAM or helpers, because each
// helper would be felt in every command. It is SSH nonetheless, so that any client
// with that key can use it.
package sshd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// Options say what a server offers and to whom.
type Options struct {
	HostKey     ssh.Signer    // required: what the server proves itself with
	ClientKey   ssh.PublicKey // required: the only key that may log in
	Users       *account.DB   // required: where users are looked up
	DefaultUser string        // required: who a session runs as that names nobody
	Env         []string      // set in every session, beneath what the session sets
	SFTP        []string      // program that speaks SFTP on its standard streams; none: no sftp
	Log         *slog.Logger  // default: discard

	// Hold keeps programs from being started until it is closed; nil: they start at once.
	Hold <-chan struct{}
}

// Server accepts SSH connections. It is safe for concurrent use.
type Server struct {
	opts   Options
	config *ssh.ServerConfig
}

// New validates o. It starts nothing.
func New(o Options) (*Server, error) {
	if o.HostKey == nil || o.ClientKey == nil || o.Users == nil || o.DefaultUser == "" {
		return nil, errors.New("sshd: HostKey, ClientKey, Users and DefaultUser are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	accepted := o.ClientKey.Marshal()
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-stead",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), accepted) {
				return nil, errors.New("this machine accepts only the key that its host made for this boot")
			}
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(o.HostKey)
	return &Server{opts: o, config: config}, nil
}

// Serve answers connections until l ends, and returns when the last one is done.
func (s *Server) Serve(l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := s.ServeConn(c); err != nil {
				s.opts.Log.Info("ssh", "error", err)
			}
		})
	}
}

// ServeConn answers one connection, which it owns, and returns when it has ended.
func (s *Server) ServeConn(c net.Conn) error {
	conn, chans, reqs, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		c.Close()
		return fmt.Errorf("handshake: %w", err)
	}
	defer conn.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	for ch := range chans {
		switch ch.ChannelType() {
		case "session":
			wg.Go(func() { s.serveSession(conn, ch) })
		case "direct-tcpip":
			wg.Go(func() { s.serveDial(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "this machine knows session and direct-tcpip channels")
		}
	}
	return nil
}
