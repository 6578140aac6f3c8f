//go:build linux

package sshd

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
)

// agentSocket is the socket through which a session's programs reach the client's SSH agent.
// It is in a directory of its own, with an unguessable name, that only the session's user and
// root can enter.
type agentSocket struct {
	dir, path string
	listener  net.Listener

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{} // connections
}

// listenAgent creates the socket of a session below parent. Each connection to it opens a channel
// to the client. The channel carries extra, the payload of the client's request: empty from an
// ordinary client; a proxy identifies one of its sessions with it.
func listenAgent(conn ssh.Conn, parent string, id identity, extra []byte) (*agentSocket, error) {
	dir := filepath.Join(parent, rand.Text())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of the SSH agent's socket: %w", err)
	}
	a := &agentSocket{dir: dir, path: filepath.Join(dir, "agent"), open: map[io.Closer]struct{}{}}
	err := a.listen(id)
	if err != nil {
		a.close()
		return nil, fmt.Errorf("create the SSH agent's socket: %w", err)
	}
	go a.serve(conn, extra)
	return a, nil
}

// listen creates the socket. Until the end, only root can enter its directory.
func (a *agentSocket) listen(id identity) (err error) {
	if a.listener, err = net.Listen("unix", a.path); err != nil {
		return err
	}
	if err := os.Chmod(a.path, 0o600); err != nil || os.Geteuid() != 0 {
		return err
	}
	if err := os.Lchown(a.path, id.UID, id.GID); err != nil {
		return err
	}
	return os.Lchown(a.dir, id.UID, id.GID)
}

func (a *agentSocket) serve(conn ssh.Conn, extra []byte) {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer a.forget(c)
			if !a.keep(c) {
				return
			}
			channel, requests, err := conn.OpenChannel("auth-agent@openssh.com", extra)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			splice(channel, c.(*net.UnixConn))
		}()
	}
}

// keep notes an open connection. It reports false if the session has ended.
func (a *agentSocket) keep(c io.Closer) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[c] = struct{}{}
	return !a.closed
}

// forget closes a connection.
func (a *agentSocket) forget(c io.Closer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, c)
	c.Close()
}

// close removes the socket and ends its connections: those of programs that outlive the session
// too. It may be called more than once.
func (a *agentSocket) close() {
	if a.listener != nil {
		a.listener.Close()
	}
	os.RemoveAll(a.dir)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for c := range a.open {
		c.Close()
	}
}
