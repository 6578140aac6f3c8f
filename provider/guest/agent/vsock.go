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

// hasVsock tells whether this machine can be dialled over vsock: the kernel knows the
// number that a hypervisor gave it.
func hasVsock() bool {
	cid, err := vsock.ContextID()
	return err == nil && isGuest(cid)
}

// isGuest tells apart the numbers that hypervisors give to guests. A kernel with vsock
// and no device says that it has any number, one that only runs guests itself that it
// is the host.
func isGuest(cid uint32) bool { return cid > vsock.Host && cid != unix.VMADDR_CID_ANY }

// vsockRetry is the pause after a port could not be taken.
const vsockRetry = time.Second

// serveVsock listens on vsock. Connections come and go without its doing; it returns
// when it cannot listen any longer.
func serveVsock(servers map[uint32]server) error {
	ended := make(chan error, len(servers))
	for port, serve := range servers {
		// Any number of ours: a machine that is restored may have got another one.
		l, err := vsock.ListenContextID(unix.VMADDR_CID_ANY, port, nil)
		if err != nil {
			time.Sleep(vsockRetry)
			return fmt.Errorf("listen on vsock: %w", err)
		}
		defer l.Close()
		go func() { _ = serve(fromHost{l, ended}) }() // what ends it is sent to ended
	}
	return <-ended
}

// fromHost lets the host's connections through and no others. The kernel connects any
// process of the machine with the machine itself, and guests of this guest with it,
// while the control port asks nobody who they are.
type fromHost struct {
	net.Listener
	ended chan<- error // gets the error of a listener that has ended, if there is room
}

// Accept returns the next connection of the host.
func (l fromHost) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ECONNABORTED) {
			time.Sleep(vsockRetry) // it passes
			continue
		}
		if err != nil {
			select {
			case l.ended <- err:
			default:
			}
			return nil, err
		}
		// The kernel has filled in who dials; a process cannot choose the host's number
		// unless its packets come from the hypervisor.
		if a, ok := c.RemoteAddr().(*vsock.Addr); ok && a.ContextID == vsock.Host {
			return c, nil
		}
		c.Close()
	}
}
