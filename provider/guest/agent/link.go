//go:build linux

package agent

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/stead-vm/stead/provider/guest"
)

// server serves one port until its listener ends.
type server func(net.Listener) error

// link offers servers to the host until the connection to the host ends.
type link func(map[uint32]server) error

// serveHost offers servers to the host over the machine's link. It returns only if there is
// no link. If the host ends the connection, serveHost waits for the next one.
func serveHost(log *slog.Logger, servers map[uint32]server) error {
	var serve link
	if err := await("a connection to the host (vsock, or a virtio-serial port named "+guest.AgentPortName+")", func() bool {
		serve = findLink("/sys", hasVsock)
		return serve != nil
	}); err != nil {
		return err
	}
	for {
		if err := serve(servers); err != nil && !errors.Is(err, io.EOF) {
			log.Info("connection to the host ended", "err", err)
		}
		time.Sleep(devicePoll)
	}
}

// findLink returns the link that the hypervisor provides, or nil if there is none yet. The
// boot's settings do not name it, so that damaged settings can be reported too. The port of
// our name has precedence: a machine may have vsock for other purposes.
func findLink(sys string, vsock func() bool) link {
	if device, ok := findPort(sys, guest.AgentPortName); ok {
		return func(servers map[uint32]server) error { return servePort(device, servers) }
	}
	if vsock() {
		return serveVsock
	}
	return nil
}
