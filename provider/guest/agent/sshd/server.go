//go:build linux

// Package sshd serves SSH sessions in the guest to the host.
//
// An image need not have an sshd, and an existing one need not be configured for stead. This
// server is part of the agent, is reached over a private device, and accepts only one key,
// which is valid for one boot. It starts processes without PAM or helper programs, which
// would slow down every command. Any SSH client with that key can use it.
package sshd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest/agent/account"
)

// Options say what a server offers and to whom.
type Options struct {
	HostKey     ssh.Signer    // required: the server's key
	ClientKey   ssh.PublicKey // required: the only key that may log in
	Users       *account.DB   // required: the user database
	DefaultUser string        // required: the user of sessions that do not name one
	Env         []string      // set in every session; a session's own variables override it
	SFTP        []string      // command that serves SFTP on its standard streams; empty: no SFTP
	AgentDir    string        // existing directory for the sockets of SSH agents; default: that for temporary files
	Log         *slog.Logger  // default: discard

	// Hold delays the start of programs until it is closed, when the init accepts commands; nil: no
	// delay. Close it after a minute in any case.
	Hold <-chan struct{}

	// Enter is called before a program starts in a directory. If it returns an error, the session
	// ends with it; nil: every directory will do.
	Enter func(dir string) error
}

// Server accepts SSH connections. It is safe for concurrent use.
type Server struct {
	opts     Options
	config   *ssh.ServerConfig
	looks    *looks
	patience time.Duration // after which a session tells that it waits for Hold
	glance   time.Duration // the same if its client shows a line that goes away
}

// New validates o. It starts nothing.
func New(o Options) (*Server, error) {
	if o.HostKey == nil || o.ClientKey == nil || o.Users == nil || o.DefaultUser == "" {
		return nil, errors.New("sshd: HostKey, ClientKey, Users and DefaultUser are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.AgentDir = cmp.Or(o.AgentDir, os.TempDir())
	accepted := o.ClientKey.Marshal()
	config := &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-stead",
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), accepted) {
				return nil, errors.New("this machine accepts only the key that its host created for this boot")
			}
			return &ssh.Permissions{}, nil
		},
	}
	config.AddHostKey(o.HostKey)
	return &Server{opts: o, config: config, looks: newLooks(), patience: 5 * time.Second, glance: time.Second}, nil
}

// Serve serves connections until l ends, and returns when the last one has ended.
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
				s.opts.Log.Info("SSH connection failed", "err", err)
			}
		})
	}
}

// ServeConn serves one connection, takes ownership of it, and returns when it has ended.
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
			_ = ch.Reject(ssh.UnknownChannelType, "this machine supports only session and direct-tcpip channels")
		}
	}
	return nil
}
