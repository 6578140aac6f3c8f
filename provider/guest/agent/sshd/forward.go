//go:build linux

package sshd

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// dialTimeout bounds a connection attempt inside the guest.
const dialTimeout = 30 * time.Second

// halfCloser is a stream whose sending half can be closed separately.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// serveDial connects a "direct-tcpip" channel (RFC 4254 §7.2) from inside the guest, so that
// it can reach servers on the guest's loopback.
func (s *Server) serveDial(offer ssh.NewChannel) {
	var p struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if err := ssh.Unmarshal(offer.ExtraData(), &p); err != nil {
		_ = offer.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	target, err := net.DialTimeout("tcp", net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))), dialTimeout)
	if err != nil {
		_ = offer.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		target.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	splice(channel, target.(*net.TCPConn))
}

// splice copies in both directions, passes on each half-close, and closes both at the end.
func splice(a, b halfCloser) {
	var wg sync.WaitGroup
	for _, way := range [2][2]halfCloser{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].CloseWrite()
		})
	}
	wg.Wait()
	a.Close()
	b.Close()
}

// agentSocket is the socket through which a session's programs reach the client's SSH agent.
type agentSocket struct {
	dir, path string
	listener  net.Listener
}

// listenAgent creates the socket of a session. Each connection to it opens a channel to the
// client. The channel carries extra, the payload of the client's request: empty from an
// ordinary client; a proxy identifies one of its clients with it.
func listenAgent(conn ssh.Conn, id identity, extra []byte) (*agentSocket, error) {
	dir, err := os.MkdirTemp("", "stead-ssh-")
	if err != nil {
		return nil, fmt.Errorf("create the directory of the SSH agent's socket: %w", err)
	}
	a := &agentSocket{dir: dir, path: filepath.Join(dir, "agent")}
	if a.listener, err = net.Listen("unix", a.path); err == nil && os.Geteuid() == 0 {
		if err = os.Lchown(a.path, id.UID, id.GID); err == nil {
			err = os.Lchown(dir, id.UID, id.GID)
		}
	}
	if err != nil {
		a.close()
		return nil, fmt.Errorf("create the SSH agent's socket: %w", err)
	}
	go a.serve(conn, extra)
	return a, nil
}

func (a *agentSocket) serve(conn ssh.Conn, extra []byte) {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			channel, requests, err := conn.OpenChannel("auth-agent@openssh.com", extra)
			if err != nil {
				c.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			splice(channel, c.(*net.UnixConn))
		}()
	}
}

func (a *agentSocket) close() {
	if a.listener != nil {
		a.listener.Close()
	}
	os.RemoveAll(a.dir)
}
