package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// spawnSupervisor starts the supervisor detached: in a session of its own, away from
// the terminal, logging to the bundle. Its report comes through the pipe.
func (p *Provider) spawnSupervisor(b bundle, id string) (io.ReadCloser, *exec.Cmd, error) {
	logFile, err := os.OpenFile(b.path(string(SupervisorLog)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, diskFull(err, b.dir)
	}
	defer logFile.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd := exec.Command(p.opts.Exe, "supervise", id)
	cmd.Env = append(os.Environ(), "STEAD_HOME="+p.opts.Home, "STEAD_ACCEL="+p.opts.Accel)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("supervisor: %w", err), r.Close())
	}
	go func() { _ = cmd.Wait() }() // reap it should it end before us
	return r, cmd, nil
}

// ReportFD is the file descriptor on which the supervisor process finds the pipe for
// its report.
const ReportFD = 3

func readReport(started io.Reader, id string) error {
	var r report
	data, err := io.ReadAll(started)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return &StartError{ID: id, Message: "its supervisor ended without a word"}
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("report of the supervisor: %w", err)
	}
	if !r.Ready {
		return &StartError{ID: id, Message: r.Error, Advice: r.Remedy}
	}
	return nil
}
