package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/image"
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
// ctx ends first, the machine is stopped again. A default kernel that is not here yet is
// fetched first: progress, which may be nil, tells of that.
func (p *Provider) Start(ctx context.Context, id string, progress image.Progress) error {
	unlock, err := p.existing(ctx, id, "starting", nil)
	if err != nil {
		return err
	}
	defer unlock()
	return p.start(ctx, id, progress)
}

// existing is write for a machine that must be there, and be the expected one.
func (p *Provider) existing(ctx context.Context, id, doing string, expect *Identity) (unlock func(), err error) {
	if expect == nil && (!ValidID(id) || !p.bundle(id).exists()) {
		return nil, &NotFoundError{ID: id}
	}
	if unlock, err = p.write(ctx, id, doing); err != nil {
		return nil, err
	}
	if err := p.expect(id, expect); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (p *Provider) start(ctx context.Context, id string, progress image.Progress) error {
	b := p.bundle(id)
	if running, err := p.alreadyRunning(ctx, b, id); err != nil || running {
		return err
	}
	// Fail here, with the person watching, and not in the supervisor.
	s, err := p.checkBundle(ctx, b)
	if err == nil {
		err = p.fetchKernel(ctx, s, progress)
	}
	if err != nil {
		return err
	}
	p.log.Debug("starting", "machine", id, "settings", s.Settings)
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

// alreadyRunning waits for a machine that boots, and for the end of one that is going. A
// supervisor that does not answer has just come or is just going: time tells which.
func (p *Provider) alreadyRunning(ctx context.Context, b bundle, id string) (bool, error) {
	for end := time.Now().Add(endTimeout); ; {
		alive, err := b.supervised()
		if err != nil || !alive {
			return false, err
		}
		st, err := p.supervisor(id).Status(ctx, supervisor.WaitReady)
		if err == nil && st.State == supervisor.StateRunning {
			return true, nil
		}
		if err == nil {
			err = errors.New("it is " + st.State)
		}
		if time.Now().After(end) {
			return false, fmt.Errorf("its supervisor does not end: %w", err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// checkBundle checks all that can be known before a machine is started, and says which
// machine it is.
func (p *Provider) checkBundle(ctx context.Context, b bundle) (Spec, error) {
	r, err := b.readRecord()
	if err != nil {
		return Spec{}, err
	}
	settings, err := b.settings()
	if err != nil {
		return Spec{}, err
	}
	s := r.spec(settings)
	return s, p.Check(ctx, s)
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
	var end time.Time // of our patience, which begins when it cannot be asked
	for {
		err := p.supervisor(id).Stop(ctx, how)
		if err == nil {
			return p.awaitSupervisorEnd(ctx, b)
		}
		// It may have ended while we asked, or have come just now and not listen yet.
		if alive, aliveErr := b.supervised(); aliveErr != nil || !alive {
			return aliveErr
		}
		if end.IsZero() {
			end = time.Now().Add(reachTimeout)
		}
		// One that listens and never answered would not answer the next time either.
		if errors.Is(err, context.DeadlineExceeded) || time.Now().After(end) {
			return fmt.Errorf("does not stop: %w", err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// reachTimeout is what a supervisor may take from its lock to its socket, and from its
// socket's end to its own: seconds on a busy host. All of it is waited for only where one
// hangs right there, and a person has to kill it.
const reachTimeout = 15 * time.Second

// Configure writes the settings that a machine boots with from the next start on, and
// whose it is. It changes no running machine, but for Services (see ApplyServices), and
// none but the expected one, as Replace.
func (p *Provider) Configure(ctx context.Context, s Spec, expect *Identity) error {
	unlock, err := p.existing(ctx, s.ID, "configuring", expect)
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
