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
	runDir func() (string, error)
	peer   jsonhttp.Peer
}

// NewClient returns a client of the supervisor whose sockets are in the directory that runDir
// returns. It does not connect. It calls runDir for each connection, as each start of the machine
// can choose another directory.
func NewClient(runDir func() (string, error)) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialIn(ctx, runDir, apiSocket) }
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return &Client{runDir, jsonhttp.Peer{Name: "supervisor", HTTP: &http.Client{Transport: transport}}}
}

func dialIn(ctx context.Context, runDir func() (string, error), socket string) (net.Conn, error) {
	dir, err := runDir()
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, socket))
}

// Status waits for a condition (WaitReady, WaitServices, or "" for none), then returns the
// machine's status.
func (c *Client) Status(ctx context.Context, wait string) (Status, error) {
	var st Status
	return st, c.peer.Call(ctx, http.MethodGet, "/v1/status?wait="+wait, nil, &st)
}

// Stop stops the machine and returns when it has ended.
func (c *Client) Stop(ctx context.Context, how Stop) error {
	grace := how.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	ctx, cancel := context.WithTimeout(ctx, grace+stopTotalSlop+5*time.Second)
	defer cancel()
	return c.peer.Call(ctx, http.MethodPost, "/v1/stop", how, &Status{})
}

// ApplyServices starts the wanted services and stops those that were declared before.
func (c *Client) ApplyServices(ctx context.Context, want []string) ([]guest.ServiceState, error) {
	var states []guest.ServiceState
	return states, c.peer.Call(ctx, http.MethodPut, "/v1/services", guest.Services{Want: want}, &states)
}

// SSH opens an SSH connection to the machine. The supervisor shares its connection to the
// guest, so no key exchange with the guest is needed.
func (c *Client) SSH(ctx context.Context) (*ssh.Client, error) {
	conn, err := dialIn(ctx, c.runDir, sshSocket)
	if err != nil {
		return nil, err
	}
	// The socket is in a directory that only this user can enter, so the server's key need
	// not be checked.
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
