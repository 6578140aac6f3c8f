package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/stead-vm/stead/provider/poll"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest/jsonhttp"
)

// DialFunc opens a stream to a port of the agent. It blocks until the agent listens or ctx
// ends.
type DialFunc func(ctx context.Context, port uint32) (net.Conn, error)

// Client talks to the control port of one agent. It is safe for concurrent use.
type Client struct{ peer jsonhttp.Peer }

// NewClient returns a client that dials the agent as needed and reuses connections.
func NewClient(dial DialFunc) *Client {
	return &Client{jsonhttp.Peer{Name: "agent", Foreign: "the machine", HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, ControlPort)
		},
		MaxIdleConns: 2,
	}}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.peer.HTTP.CloseIdleConnections() }

// Status returns the machine's status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.peer.Call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// BootError reports that a machine cannot become ready.
type BootError struct{ Err error } // what the agent reported

func (e *BootError) Error() string { return "the machine cannot become ready: " + e.Err.Error() }

// Unwrap returns what the agent reported.
func (e *BootError) Unwrap() error { return e.Err }

// retryEvery is the pause between attempts to reach an agent that does not listen yet.
const retryEvery = 20 * time.Millisecond

// WaitReady waits until the machine is ready. It returns a [BootError] if the machine
// cannot become ready. If ctx ends, the error includes that of the last attempt.
func (c *Client) WaitReady(ctx context.Context) (s Status, err error) {
	err = poll.Loop{Every: retryEvery}.Until(ctx, func(ctx context.Context) error {
		s = Status{}
		err := c.peer.Call(ctx, http.MethodGet, "/v1/status?wait=ready", nil, &s)
		switch {
		case err == nil && s.Fault != nil:
			return poll.Final(&BootError{s.Fault.From("the machine").Err()})
		case err == nil && s.Ready:
			return nil
		case err == nil:
			return errors.New("the agent answers, but has not started init")
		case ctx.Err() != nil: // an attempt that was cut short says nothing about the agent
			return errors.New("the agent has not answered")
		}
		return err
	})
	return s, err
}

// SetClock sets the guest's clock.
func (c *Client) SetClock(ctx context.Context, now time.Time) error {
	return c.peer.Call(ctx, http.MethodPut, "/v1/clock", Clock{Time: now}, nil)
}

// ApplyServices enables and starts the services in want. It disables and stops those of an
// earlier call that are not in want. If a service fails, its state has an Error.
func (c *Client) ApplyServices(ctx context.Context, want []string) ([]ServiceState, error) {
	var s []ServiceState
	err := c.peer.Call(ctx, http.MethodPut, "/v1/services", Services{Want: want}, &s)
	return s, err
}

// Shutdown asks the guest's init to power off or reboot and does not wait for it.
func (c *Client) Shutdown(ctx context.Context, how Shutdown) error {
	return c.peer.Call(ctx, http.MethodPost, "/v1/shutdown", how, nil)
}

// DialSSH opens an SSH connection to the agent. It authenticates with clientKey and accepts
// only hostKey. The caller must serve the channels and requests that the guest opens, so
// that a proxy can pass them on.
func DialSSH(ctx context.Context, dial DialFunc, clientKey ssh.Signer, hostKey ssh.PublicKey) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	c, err := dial(ctx, SSHPort)
	if err != nil {
		return nil, nil, nil, err
	}
	// The handshake takes no context. Closing the connection would not end it: a closed
	// stream of a multiplexer can still be read. A deadline does.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	conn, chans, reqs, err := ssh.NewClientConn(c, "agent", &ssh.ClientConfig{
		User:            "stead",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(clientKey)},
		HostKeyCallback: ssh.FixedHostKey(hostKey),
	})
	if !stop() && err == nil {
		conn.Close()
		return nil, nil, nil, context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, nil, fmt.Errorf("SSH to the agent: %w", err)
	}
	return conn, chans, reqs, nil
}
