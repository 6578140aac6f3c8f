// Package portmux multiplexes ports like vsock's over a single byte stream, such as a
// virtio-serial port: the guest listens on a number, the host dials it.
//
// It uses yamux. Each stream begins with the port, four bytes big-endian, which the guest
// answers with one byte.
package portmux

import (
	"errors"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// Answers to the port at the head of a stream.
const (
	accepted = 0
	refused  = 1
)

// ErrRefused is returned by Dial if the guest does not listen on the port.
var ErrRefused = errors.New("connection refused by the guest")

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	// A guest may be paused, or slow on a busy host: only the caller's context decides when
	// to give up.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = 5 * time.Minute
	c.StreamOpenTimeout = 0
	c.StreamCloseTimeout = 5 * time.Minute
	c.MaxStreamWindowSize = 1 << 20
	c.LogOutput = io.Discard
	return c
}

// stream is a stream whose Close ends calls of Read and Write that wait, and does not wait itself,
// even if the other end does not answer or takes no bytes.
type stream struct{ *yamux.Stream }

// Close closes the stream in the background: yamux waits until it has written the end of the stream,
// or for ConnectionWriteTimeout. Its error would be of no use.
func (s stream) Close() error {
	_ = s.SetDeadline(time.Unix(1, 0))
	go func() { _ = s.Stream.Close() }()
	return nil
}
