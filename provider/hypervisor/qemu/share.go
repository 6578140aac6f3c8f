//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
)

const (
	// shareLeave is how long a file server may take to leave when its machine has ended.
	shareLeave = 2 * time.Second
	// shareRetry is the pause between attempts to reach a file server that starts.
	shareRetry = 5 * time.Millisecond
)

// shareCommandFunc is the type of Options.ShareCommand.
type shareCommandFunc = func(hypervisor.Share, string) *exec.Cmd

// shareServer is the process that serves one share.
type shareServer struct {
	process *process
	path    string
}

// shareSocket is where the server of the i-th share listens.
func shareSocket(runDir string, i int) string {
	return filepath.Join(runDir, fmt.Sprintf("share%d.sock", i))
}

// startShare starts the server of s and connects to it, for QEMU to inherit the
// connection: so a server that cannot start is reported in its own words, and before
// there is a machine.
func startShare(ctx context.Context, command shareCommandFunc, s hypervisor.Share, socket string) (*shareServer, *os.File, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	p, err := startProcess("the file server for "+s.Path, command(s, socket))
	if err != nil {
		return nil, nil, err
	}
	conn, err := p.connect(ctx, socket)
	if err != nil {
		p.kill()
		return nil, nil, err
	}
	return &shareServer{process: p, path: s.Path}, conn, nil
}

// connect waits until the process listens.
func (p *process) connect(ctx context.Context, socket string) (*os.File, error) {
	for {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err == nil {
			defer conn.Close()
			return conn.File()
		}
		select {
		case <-p.done:
			return nil, p.failure(exitError(p.err))
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w (last attempt: %w)", p.name, context.Cause(ctx), err)
		case <-time.After(shareRetry):
		}
	}
}

// lost tells why the server has gone, or nil if that was because its machine has. The
// two go at the same time when a machine ends.
func (s *shareServer) lost(machine <-chan struct{}) error {
	select {
	case <-machine:
		return nil
	case <-time.After(shareLeave):
		return fmt.Errorf("the machine lost its share: %w", s.process.failure(exitError(s.process.err)))
	}
}

// exitError is err, or what is wrong with a process that left without an error.
func exitError(err error) error {
	if err == nil {
		return errors.New("it left too early")
	}
	return err
}

// stopShares ends the servers of a machine that is gone. They leave by themselves when
// QEMU has closed its end, but not if QEMU never spoke to them.
func stopShares(servers []*shareServer, grace time.Duration) {
	deadline := make(chan struct{})
	defer time.AfterFunc(grace, func() { close(deadline) }).Stop()
	for _, s := range servers {
		select {
		case <-s.process.done:
		case <-deadline:
			s.process.kill()
		}
	}
}
