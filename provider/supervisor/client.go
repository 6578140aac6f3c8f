package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
)

// Client talks to the supervisor of one machine.
type Client struct {
	runDir string
	http   *http.Client
}

// NewClient is for the supervisor whose sockets are in runDir. It opens nothing.
func NewClient(runDir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(runDir, apiSocket))
	}
	return &Client{runDir, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status reports the machine's state, after waiting for a condition (WaitReady,
// WaitServices, or "" for none).
func (c *Client) Status(ctx context.Context, wait string) (Status, error) {
	var st Status
	return st, c.do(ctx, http.MethodGet, "/v1/status?wait="+wait, nil, &st)
}

// Stop ends the machine and returns when it is gone.
func (c *Client) Stop(ctx context.Context, how Stop) error {
	grace := how.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	ctx, cancel := context.WithTimeout(ctx, grace+stopTotalSlop+5*time.Second)
	defer cancel()
	return c.do(ctx, http.MethodPost, "/v1/stop", how, &Status{})
}

// ApplyServices makes the machine run exactly the wanted services, of those that were
// ever declared.
func (c *Client) ApplyServices(ctx context.Context, want []string) ([]guest.ServiceState, error) {
	var states []guest.ServiceState
	return states, c.do(ctx, http.MethodPut, "/v1/services", guest.Services{Want: want}, &states)
}

func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, &payload)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("supervisor: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e guest.Error
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			return fmt.Errorf("supervisor: %s", resp.Status)
		}
		return fmt.Errorf("supervisor: %s", e.Message)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
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
