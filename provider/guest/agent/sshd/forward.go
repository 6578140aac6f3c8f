//go:build linux

package sshd

import (
	"io"
	"net"
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
