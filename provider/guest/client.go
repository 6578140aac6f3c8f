package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest/jsonhttp"
)

// DialFunc opens a stream to a port of the agent. It blocks until the agent
// listens or ctx ends.
type DialFunc func(ctx context.Context, port uint32) (net.Conn, error)

// Client talks to the control port of one agent. It is safe for concurrent use.
type Client struct{ peer jsonhttp.Peer }

// NewClient returns a client that dials the agent as needed and keeps connections.
func NewClient(dial DialFunc) *Client {
	return &Client{jsonhttp.Peer{Name: "agent", HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, ControlPort)
		},
		MaxIdleConns: 2,
	}}}}
}

// Close drops the connections that are kept for later requests.
func (c *Client) Close() { c.peer.HTTP.CloseIdleConnections() }

// Status asks the agent how the machine is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.peer.Call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// BootError is why a machine cannot become ready, in the agent's words.
type BootError struct{ Message string }

func (e *BootError) Error() string { return "the machine cannot become ready: " + e.Message }

// retryEvery is the pause between attempts to reach an agent that is not there yet.
const retryEvery = 20 * time.Millisecond

// WaitReady returns once the machine is ready, with a [BootError] once it is known
// that it will not be, or when ctx ends, with what was seen of the agent until then.
func (c *Client) WaitReady(ctx context.Context) (Status, error) {
	seen := errors.New("the agent has not answered yet")
	for {
		var s Status
		err := c.peer.Call(ctx, http.MethodGet, "/v1/status?wait=ready", nil, &s)
		switch {
		case err == nil && s.Error != "":
			return s, &BootError{s.Error}
		case err == nil && s.Ready:
			return s, nil
		case err == nil:
			err = errors.New("the agent answers, init was not started yet")
		}
		// An attempt that ctx cut short says only that ctx has ended.
		if ctx.Err() == nil {
			seen = err
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%w (last attempt: %w)", context.Cause(ctx), seen)
		case <-time.After(retryEvery):
		}
	}
}

// SetClock gives the guest the host's time.
func (c *Client) SetClock(ctx context.Context, now time.Time) error {
	return c.peer.Call(ctx, http.MethodPut, "/v1/clock", Clock{Time: now}, nil)
}

// ApplyServices enables and starts the services in want and disables and stops those
// of an earlier call that are not in it. A service that fails has its Error set.
func (c *Client) ApplyServices(ctx context.Context, want []string) ([]ServiceState, error) {
	var s []ServiceState
	err := c.peer.Call(ctx, http.MethodPut, "/v1/services", Services{Want: want}, &s)
	return s, err
}

// Shutdown asks the guest's init to power off or reboot and does not wait for it.
func (c *Client) Shutdown(ctx context.Context, how Shutdown) error {
	return c.peer.Call(ctx, http.MethodPost, "/v1/shutdown", how, nil)
}

// DialSSH opens an SSH connection to the agent: the host proves itself with
// clientKey and insists on hostKey. The channels and requests that the guest opens
// are the caller's to serve, so that a proxy can pass them on.
func DialSSH(ctx context.Context, dial DialFunc, clientKey ssh.Signer, hostKey ssh.PublicKey) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	c, err := dial(ctx, SSHPort)
	if err != nil {
		return nil, nil, nil, err
	}
	// The handshake knows no context; it ends when its connection does. It must not be
	// Close alone that ends it: a closed stream of a multiplexer can still be read.
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
