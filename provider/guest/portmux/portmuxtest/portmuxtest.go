// Package portmuxtest provides tests with the port of a machine.
package portmuxtest

import (
	"net"
	"testing"

	"github.com/stead-vm/stead/provider/guest/portmux"
)

// Serve runs serve on a port of a guest and returns the host's end. When the test ends, it
// closes both ends and waits for serve.
func Serve(t *testing.T, port uint32, serve func(net.Listener) error) *portmux.Dialer {
	t.Helper()
	host, guest := net.Pipe()
	dialer, mux := portmux.NewDialer(host), portmux.NewMux(guest)
	listener, err := mux.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { _ = mux.Serve() }()
	go func() { defer close(served); _ = serve(listener) }()
	t.Cleanup(func() { dialer.Close(); mux.Close(); <-served })
	return dialer
}
