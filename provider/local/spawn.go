package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/space"
)

// spawnSupervisor starts the supervisor in a session of its own, detached from the terminal and
// logging to the bundle. Its report comes through the returned pipe.
func (p *Provider) spawnSupervisor(b bundle.Bundle, id string) (io.ReadCloser, *exec.Cmd, error) {
	logPath := b.Path(bundle.SupervisorLog)
	// For what it cannot log: a crash before it has opened its log, and messages of macOS.
	logFile, err := os.OpenFile(logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, space.Explain(err, b.Dir)
	}
	defer logFile.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd := exec.Command(p.opts.Exe, "supervise", "--log", logPath, id)
	cmd.Env = append(os.Environ(), "STEAD_HOME="+p.Bundles.Home(), "STEAD_ACCEL="+p.opts.Accel)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = host.Detached()
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("supervisor: %w", err), r.Close())
	}
	go func() { _ = cmd.Wait() }() // reap it if it ends first
	return r, cmd, nil
}
