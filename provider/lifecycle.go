package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/supervisor"
)

// StopOptions say how a machine is stopped. The zero value is gracefully.
type StopOptions = supervisor.Stop

// StartError reports a machine that did not become ready.
type StartError struct {
	ID, Message, Advice string
}

func (e *StartError) Error() string { return "did not start: " + e.Message }

// Remedy is the cause's own, or where to look.
func (e *StartError) Remedy() string {
	if e.Advice != "" {
		return e.Advice
	}
	return fmt.Sprintf(`"stead logs %s" shows its console, "stead logs --supervisor %s" what its supervisor did`, e.ID, e.ID)
}

// Start boots a machine and returns when it is ready; a running one is left alone. When
// ctx ends first, the machine is stopped again.
func (p *Provider) Start(ctx context.Context, id string) error {
	unlock, err := p.existing(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	return p.start(ctx, id)
}

// existing is write for a machine that must be there.
func (p *Provider) existing(ctx context.Context, id string) (unlock func(), err error) {
	if !ValidID(id) || !p.bundle(id).exists() {
		return nil, &NotFoundError{ID: id}
	}
	return p.write(ctx, id)
}

func (p *Provider) start(ctx context.Context, id string) error {
	b := p.bundle(id)
	if running, err := p.alreadyRunning(ctx, b, id); err != nil || running {
		return err
	}
	// Fail here, with the person watching, and not in the supervisor.
	s, err := p.checkBundle(ctx, b)
	if err != nil {
		return err
	}
	p.log.Debug("starting", "machine", id, "settings", s)
	started, cmd, err := p.spawnSupervisor(b, id)
	if err != nil {
		return err
	}
	defer started.Close()
	answer := make(chan error, 1)
	go func() { answer <- readReport(started, id) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		// It may be too young to be asked: then it has nothing to lose.
		alive, err := b.supervised()
		if err == nil && alive {
			err = p.stop(context.WithoutCancel(ctx), id, StopOptions{Force: true})
		}
		if err != nil || !alive {
			_ = cmd.Process.Kill()
		}
		if err := <-answer; err != nil {
			p.log.Debug("interrupted start", "machine", id, "err", err)
		}
		return context.Cause(ctx)
	}
}

// alreadyRunning waits for a machine that boots, and for the end of one that is going.
func (p *Provider) alreadyRunning(ctx context.Context, b bundle, id string) (bool, error) {
	alive, err := b.supervised()
	if err != nil || !alive {
		return false, err
	}
	st, err := p.supervisor(id).Status(ctx, supervisor.WaitReady)
	if err == nil && st.State == supervisor.StateRunning {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return false, p.awaitSupervisorEnd(ctx, b)
}

// checkBundle checks all that can be known before a machine is started.
func (p *Provider) checkBundle(ctx context.Context, b bundle) (Settings, error) {
	r, err := b.readRecord()
	if err != nil {
		return Settings{}, err
	}
	s, err := b.settings()
	if err != nil {
		return Settings{}, err
	}
	return s, p.Check(ctx, r.spec(s))
}

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

// Stop shuts a machine down and returns when it is gone; a stopped one is left alone.
//
// It needs no lock, so that a machine whose start or stop hangs can be stopped by force.
func (p *Provider) Stop(ctx context.Context, id string, how StopOptions) error {
	if !ValidID(id) || !p.bundle(id).exists() {
		return &NotFoundError{ID: id}
	}
	return p.stop(ctx, id, how)
}

func (p *Provider) stop(ctx context.Context, id string, how StopOptions) error {
	b := p.bundle(id)
	alive, err := b.supervised()
	if err != nil || !alive {
		return err
	}
	if err := p.supervisor(id).Stop(ctx, how); err != nil {
		// The supervisor may have ended while we asked.
		if alive, aliveErr := b.supervised(); aliveErr != nil || alive {
			return fmt.Errorf("does not stop: %w", err)
		}
		return nil
	}
	return p.awaitSupervisorEnd(ctx, b)
}

// Configure writes the settings that a machine boots with from the next start on, and
// whose it is. It changes no running machine, but for Services (see ApplyServices).
func (p *Provider) Configure(ctx context.Context, s Spec) error {
	unlock, err := p.existing(ctx, s.ID)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.bundle(s.ID)
	r, err := b.readRecord()
	if err != nil {
		return err
	}
	if info, err := os.Stat(b.path(diskFile)); err != nil {
		return fmt.Errorf("disk: %w", err)
	} else if s.Disk < info.Size() {
		return fmt.Errorf("its disk is %s and cannot shrink to %s", sizeText(info.Size()), sizeText(s.Disk))
	}
	if err := p.Check(ctx, s); err != nil {
		return err
	}
	r.Configuration.Image.Reference = s.Image
	r.Stead.Project, r.Stead.File, r.Stead.PreventDestroy = s.Owner.Project, s.Owner.File, s.PreventDestroy
	if err := b.writeRecord(r); err != nil {
		return diskFull(err, b.dir)
	}
	return diskFull(b.writeSettings(s.Settings), b.dir)
}

// ServicesError reports services that do not run.
type ServicesError struct {
	ID     string
	Failed []guest.ServiceState
}

func (e *ServicesError) Error() string {
	texts := make([]string, len(e.Failed))
	for i, f := range e.Failed {
		texts[i] = fmt.Sprintf("service %s: %s", f.Name, f.Error)
	}
	return strings.Join(texts, "; ")
}

// Remedy says where to look.
func (e *ServicesError) Remedy() string {
	return fmt.Sprintf(`look inside with "stead shell -n %s": is the package installed, does the service start by hand?`, e.ID)
}

func servicesError(id string, states []guest.ServiceState) error {
	failed := slices.DeleteFunc(slices.Clone(states), func(s guest.ServiceState) bool { return s.Error == "" })
	if len(failed) == 0 {
		return nil
	}
	return &ServicesError{ID: id, Failed: failed}
}

// ApplyServices makes a running machine run the services of its boot-config.json; one
// that was listed before and is not any more is disabled. A stopped machine does so at
// its next start.
func (p *Provider) ApplyServices(ctx context.Context, id string) error {
	s, err := p.bundle(id).settings()
	if err != nil {
		return err
	}
	states, err := p.supervisor(id).ApplyServices(ctx, s.Services)
	if err != nil {
		return err
	}
	return servicesError(id, states)
}

// WaitServices returns when the declared services of a running machine run.
func (p *Provider) WaitServices(ctx context.Context, id string) error {
	st, err := p.Wait(ctx, id, supervisor.WaitServices)
	if err != nil {
		return err
	}
	return servicesError(id, st.Services)
}

// Wait asks the machine's supervisor for its status once the condition holds.
func (p *Provider) Wait(ctx context.Context, id, condition string) (supervisor.Status, error) {
	st, err := p.supervisor(id).Status(ctx, condition)
	if err == nil && condition != "" && st.State != supervisor.StateRunning {
		err = &StartError{ID: id, Message: "it is " + st.State}
	}
	return st, err
}

// SSH opens an SSH connection into a running machine.
func (p *Provider) SSH(ctx context.Context, id string) (*ssh.Client, error) {
	return p.supervisor(id).SSH(ctx)
}

func (p *Provider) supervisor(id string) *supervisor.Client {
	return supervisor.NewClient(p.runDir(id))
}
