package supervisor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/guest/jsonhttp"
)

// Client talks to the supervisor of one machine.
type Client struct {
	runDir string
	peer   jsonhttp.Peer
}

// NewClient is for the supervisor whose sockets are in runDir. It opens nothing.
func NewClient(runDir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(runDir, apiSocket))
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{runDir, jsonhttp.Peer{Name: "supervisor", HTTP: &http.Client{Transport: transport}}}
}

// Status reports the machine's state, after waiting for a condition (WaitReady,
// WaitServices, or "" for none).
func (c *Client) Status(ctx context.Context, wait string) (Status, error) {
	var st Status
	return st, c.peer.Call(ctx, http.MethodGet, "/v1/status?wait="+wait, nil, &st)
}

// Stop ends the machine and returns when it is gone.
func (c *Client) Stop(ctx context.Context, how Stop) error {
	grace := how.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	ctx, cancel := context.WithTimeout(ctx, grace+stopTotalSlop+5*time.Second)
	defer cancel()
	return c.peer.Call(ctx, http.MethodPost, "/v1/stop", how, &Status{})
}

// ApplyServices makes the machine run exactly the wanted services, of those that were
// ever declared.
func (c *Client) ApplyServices(ctx context.Context, want []string) ([]guest.ServiceState, error) {
	var states []guest.ServiceState
	return states, c.peer.Call(ctx, http.MethodPut, "/v1/services", guest.Services{Want: want}, &states)
}

// SSH opens an SSH connection to the machine. The supervisor has done the key exchange
// with the guest already, so that a session costs no more than its own round trips.
func (c *Client) SSH(ctx context.Context) (*ssh.Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(c.runDir, sshSocket))
	if err != nil {
		return nil, err
	}
	// The socket lies in a folder that only we can enter: who answers there needs no key.
	config := &ssh.ClientConfig{User: "stead", HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	sc, chans, reqs, err := ssh.NewClientConn(conn, sshSocket, config)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	return ssh.NewClient(sc, chans, reqs), nil
}
