//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/poll"
)

const (
	// shareLeave is how long a file server may take to exit after its machine has ended.
	shareLeave = 2 * time.Second
	// shareRetry is the pause between attempts to connect to a starting file server.
	shareRetry = 5 * time.Millisecond
)

// ShareReportFD is the file descriptor on which the process of a share server reports an
// error, by fault.Write.
const ShareReportFD = firstInheritedFD

// shareServer is the process that serves one share.
type shareServer struct {
	process *process
	path    string
}

// shareSocket returns the socket of the i-th share's server.
func shareSocket(runDir string, i int) string {
	return filepath.Join(runDir, fmt.Sprintf("share%d.sock", i))
}

// startShare starts the server of s and connects to it; QEMU inherits the connection. So
// a server that cannot start is reported with its own message, before QEMU starts.
func startShare(ctx context.Context, o Options, s hypervisor.Share, socket string) (*shareServer, *os.File, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	cmd := o.ShareCommand(s, socket)
	report, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.ExtraFiles = []*os.File{theirs} // ShareReportFD
	p, err := startProcess("the file server for "+s.Path, cmd, report, o.Log)
	theirs.Close()
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
	var conn *net.UnixConn
	err := poll.Loop{Every: shareRetry}.Until(ctx, func(context.Context) (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		select {
		case <-p.done:
			if err != nil {
				return poll.Final(p.failure(exitError(p.err)))
			}
		default:
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", p.name, err)
		}
		return nil, err
	}
	defer conn.Close()
	return conn.File()
}

// loss returns why the server ended, or nil if it ended with its machine. The two end at
// the same time, so loss waits a moment for the machine.
func (s *shareServer) loss(machine <-chan struct{}) error {
	select {
	case <-machine:
		return nil
	case <-time.After(shareLeave):
		return fmt.Errorf("lost a share: %w", s.process.failure(exitError(s.process.err)))
	}
}

// exitError returns err, or an error for a process that exited with status 0.
func exitError(err error) error {
	if err == nil {
		return errors.New("it exited too early")
	}
	return err
}

// stopShares ends the servers of a machine that has ended. They exit by themselves when
// QEMU closes its end, but not if QEMU never sent them anything.
func stopShares(servers []*shareServer, grace time.Duration) {
	deadline := make(chan struct{})
	defer time.AfterFunc(grace, func() { close(deadline) }).Stop()
	for _, s := range servers {
		select {
		case <-s.process.done:
		case <-deadline:
			// A server that hangs in the host's kernel cannot be killed. It has nothing left to do.
			s.process.killWithin(grace)
		}
	}
}
