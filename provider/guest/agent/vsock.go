//go:build linux

package agent

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"
)

// hasVsock reports whether the host can dial this machine over vsock: the kernel has a
// context ID from a hypervisor.
func hasVsock() bool {
	cid, err := vsock.ContextID()
	return err == nil && isGuest(cid)
}

// isGuest reports whether cid is a guest's context ID. A kernel with vsock but without a
// device returns VMADDR_CID_ANY, and one that only runs guests itself returns the host's.
func isGuest(cid uint32) bool { return cid > vsock.Host && cid != unix.VMADDR_CID_ANY }

// vsockRetry is the pause after a failure to listen or accept.
const vsockRetry = time.Second

// serveVsock serves over vsock. It returns when it can no longer listen.
func serveVsock(servers map[uint32]server) error {
	ended := make(chan error, len(servers))
	for port, serve := range servers {
		// Any context ID: a machine that is restored may get another one.
		l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, port, nil)
		if err != nil {
			time.Sleep(vsockRetry)
			return fmt.Errorf("listen on vsock: %w", err)
		}
		defer l.Close()
		go func() { _ = serve(fromHost{l, ended}) }() // its error goes to ended
	}
	return <-ended
}

// fromHost accepts only connections from the host. The kernel also connects processes of
// the machine, and nested guests, but the control port has no authentication.
type fromHost struct {
	net.Listener
	ended chan<- error // gets the listener's last error, if there is room
}

// Accept returns the next connection of the host.
func (l fromHost) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ECONNABORTED) {
			time.Sleep(vsockRetry) // a temporary condition
			continue
		}
		if err != nil {
			select {
			case l.ended <- err:
			default:
			}
			return nil, err
		}
		// The kernel sets the remote context ID, so a process in the machine cannot claim the
		// host's.
		if a, ok := c.RemoteAddr().(*vsock.Addr); ok && a.ContextID == vsock.Host {
			return c, nil
		}
		c.Close()
	}
}
