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

// server answers on one port until its listener ends.
type server func(net.Listener) error

// link offers servers to the host until its way to the host ends.
type link func(map[uint32]server) error

// serveHost offers servers to the host on whichever link the machine has. It returns
// only if there is none; a connection that the host ends is followed by another.
func serveHost(log *slog.Logger, servers map[uint32]server) error {
	var serve link
	if err := await("a way to the host (vsock, or a virtio-serial port named "+guest.AgentPortName+")", func() bool {
		serve = findLink("/sys", hasVsock)
		return serve != nil
	}); err != nil {
		return err
	}
	for {
		if err := serve(servers); err != nil && !errors.Is(err, io.EOF) {
			log.Info("connection to the host ended", "error", err)
		}
		time.Sleep(devicePoll)
	}
}

// findLink looks for what the hypervisor has made for the host to come in by; nil:
// nothing yet. Nobody is told which it will be: settings may be damaged, and the host
// has to learn of that too. A port of our name is meant for us, while a machine may
// have vsock for other ends.
func findLink(sys string, vsock func() bool) link {
	if device, ok := findPort(sys, guest.AgentPortName); ok {
		return func(servers map[uint32]server) error { return servePort(device, servers) }
	}
	if vsock() {
		return serveVsock
	}
	return nil
}
