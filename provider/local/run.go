package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/guest"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/poll"
	"github.com/stead-vm/stead/provider/supervisor"
	"github.com/stead-vm/stead/provider/transfer"
)

// StopOptions say how to stop a machine. The zero value stops it gracefully.
type StopOptions = supervisor.Stop

const (
	// reachTimeout limits the time from a supervisor's lock to its socket, and from the end
	// of its socket to its own end. Both can take seconds on a busy host. The full time passes
	// only if a supervisor hangs there.
	reachTimeout = 15 * time.Second
	// endTimeout limits the wait for a supervisor whose machine may still have to stop.
	endTimeout = supervisor.DefaultGrace + time.Minute
	// reachEvery is the pause between two attempts to reach a supervisor.
	reachEvery = 5 * time.Millisecond
)

// StartError reports a machine that did not become ready.
type StartError struct {
	ID  string
	Err error // what its supervisor reported
}

func (e *StartError) Error() string { return "did not start: " + e.Err.Error() }

// Unwrap returns what the supervisor reported.
func (e *StartError) Unwrap() error { return e.Err }

// Remedy returns the remedy of the cause, or says where to look.
func (e *StartError) Remedy() string {
	if remedy := fault.Remedy(e.Err); remedy != "" {
		return remedy
	}
	return fmt.Sprintf(`run "stead logs %s" to read its console, or "stead logs --supervisor %s" to read its supervisor's log`, e.ID, e.ID)
}

// Start boots a machine and returns when it is ready. It does nothing to a running machine. If
// ctx ends first, it stops the machine. It downloads the default kernel first if that is
// missing, and reports that to progress, which may be nil.
func (p *Provider) Start(ctx context.Context, id string, progress transfer.Progress) error {
	unlock, err := p.Bundles.Locks().Existing(ctx, id, "starting", nil)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.Bundles.Bundle(id)
	if running, err := p.alreadyRunning(ctx, b, id); err != nil || running {
		return err
	}
	// Fail here, where the user sees it, and not in the supervisor.
	s, err := p.checkBundle(ctx, b)
	if err == nil {
		err = p.Loader.FetchKernel(ctx, s, progress)
	}
	if err != nil {
		return err
	}
	p.log.Debug("starting", "machine", id, "settings", s.Settings)
	return p.boot(ctx, b, id)
}

// boot starts the machine's supervisor and waits for its report.
func (p *Provider) boot(ctx context.Context, b bundle.Bundle, id string) error {
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
		// A supervisor that is too young to answer has not started anything yet.
		alive, err := b.Supervised()
		if err == nil && alive {
			p.log.Warn("stopping machine " + id + ", whose start was interrupted; press Ctrl-C again to end without waiting for it")
			err = p.stop(context.WithoutCancel(ctx), id, StopOptions{Force: true})
		}
		if err != nil || !alive {
			_ = cmd.Process.Kill()
		}
		if err := <-answer; err != nil {
			p.log.Debug("start was interrupted", "machine", id, "err", err)
		}
		return context.Cause(ctx)
	}
}

// alreadyRunning waits for a booting machine to be ready, and for a stopping one to end. A
// supervisor that does not answer is just starting or ending, so it is asked again. It logs once
// what it waits for.
func (p *Provider) alreadyRunning(ctx context.Context, b bundle.Bundle, id string) (running bool, err error) {
	told := false
	err = poll.Loop{Every: reachEvery, Limit: endTimeout}.Until(ctx, func(ctx context.Context) error {
		alive, err := b.Supervised()
		if err != nil {
			return poll.Final(err)
		}
		if !alive {
			return nil
		}
		st, err := p.ask(ctx, id, observeTimeout)
		if err != nil {
			return poll.Final(err)
		}
		if changing(st) && !told {
			told = true
			p.log.Warn("waiting for machine " + id + ", which is " + st.Description())
		}
		st, err = p.Machines.Supervisor(id).Status(ctx, supervisor.WaitReady)
		switch {
		case err != nil:
			return err
		case st.State == supervisor.StateUnreachable:
			return poll.Final(&UnreachableError{ID: id, Err: &supervisor.UnreachableError{Since: st.Heard}})
		case st.State == supervisor.StatePaused:
			return poll.Final(&StartError{ID: id, Err: errors.New("the machine is " + st.Description())})
		case st.State != supervisor.StateRunning:
			return errors.New("the machine is " + st.Description())
		}
		running = true
		return nil
	})
	return running, endedBy(ctx, err, "its supervisor did not end")
}

// changing reports whether a machine is about to become ready or to end.
func changing(st supervisor.Status) bool {
	switch st.State {
	case supervisor.StateBooting, supervisor.StateStopping:
		return true
	case supervisor.StatePaused:
		return !st.Silent() // it boots
	}
	return false
}

// endedBy returns the end of ctx as it is, and says what did not happen in time. Other
// errors of a [poll.Loop] speak for themselves.
func endedBy(ctx context.Context, err error, what string) error {
	var ended *poll.EndedError
	switch {
	case !errors.As(err, &ended):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkBundle checks a machine before its start, and returns its spec.
func (p *Provider) checkBundle(ctx context.Context, b bundle.Bundle) (machine.Spec, error) {
	r, err := b.Record()
	if err != nil {
		return machine.Spec{}, err
	}
	settings, err := b.Settings()
	if err != nil {
		return machine.Spec{}, err
	}
	s := r.Spec(settings)
	return s, p.Check(ctx, s)
}

// errHangs reports a supervisor that has not stopped its machine in all the time that it has.
var errHangs = errors.New("its supervisor hangs")

// Stop shuts a machine down and returns when it is off. It does nothing to a stopped machine. If
// the machine's supervisor hangs, Stop kills it.
//
// It takes no lock, so that a machine can be stopped by force while its start or stop hangs.
func (p *Provider) Stop(ctx context.Context, id string, how StopOptions) error {
	if _, err := p.Bundles.Existing(id); err != nil {
		return err
	}
	return p.stop(ctx, id, how)
}

func (p *Provider) stop(ctx context.Context, id string, how StopOptions) error {
	b := p.Bundles.Bundle(id)
	alive, err := b.Supervised()
	if err != nil || !alive {
		return err
	}
	patience := hangTimeout
	if how.Force {
		patience = observeTimeout
	}
	if err := p.checkAnswers(ctx, id, patience); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return p.killSupervisor(ctx, b, id)
	}
	err = poll.Loop{Every: reachEvery, Limit: reachTimeout}.Until(ctx, func(ctx context.Context) error {
		err := p.Machines.Supervisor(id).Stop(ctx, how)
		if err == nil {
			return nil
		}
		// It may have just ended, or not listen yet.
		switch alive, aliveErr := b.Supervised(); {
		case aliveErr != nil:
			return poll.Final(aliveErr)
		case !alive:
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			return poll.Final(errHangs) // it listens, so asking again would not help
		}
		return err
	})
	var ended *poll.EndedError
	switch {
	case err == nil:
		return awaitSupervisorEnd(ctx, b)
	case errors.Is(err, errHangs), errors.As(err, &ended) && ctx.Err() == nil:
		return p.killSupervisor(ctx, b, id)
	}
	return endedBy(ctx, err, "did not stop")
}

// awaitSupervisorEnd waits until no supervisor holds the bundle's lock.
func awaitSupervisorEnd(ctx context.Context, b bundle.Bundle) error {
	err := poll.Loop{Every: reachEvery, Limit: endTimeout}.Until(ctx, func(context.Context) error {
		alive, err := b.Supervised()
		if err != nil {
			return poll.Final(err)
		}
		if alive {
			return errors.New("the supervisor is still running")
		}
		return nil
	})
	return endedBy(ctx, err, "the supervisor did not end")
}

// UnreachableError reports a machine that runs, but whose agent does not answer.
type UnreachableError struct {
	ID  string
	Err error // what its supervisor reported
}

func (e *UnreachableError) Error() string { return e.Err.Error() }

// Unwrap returns what the supervisor reported.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Remedy says where to look, and how to end the machine.
func (e *UnreachableError) Remedy() string {
	return fmt.Sprintf(`run "stead logs %s" to read its console, or "stead stop %s" and "stead start %s" to boot it again`, e.ID, e.ID, e.ID)
}

// explainUnreachable adds the remedy to an error of an unreachable machine.
func explainUnreachable(id string, err error) error {
	var e *supervisor.UnreachableError
	if errors.As(err, &e) {
		return &UnreachableError{ID: id, Err: err}
	}
	return err
}

// ServicesError reports services that are not running.
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
	return fmt.Sprintf(`run "stead shell -n %s" and check that the package is installed and that the service starts by hand`, e.ID)
}

func servicesError(id string, states []guest.ServiceState) error {
	failed := slices.DeleteFunc(slices.Clone(states), func(s guest.ServiceState) bool { return s.Error == "" })
	if len(failed) == 0 {
		return nil
	}
	return &ServicesError{ID: id, Failed: failed}
}

// ApplyServices makes a running machine run the services in its boot-config.json, and disables
// those that were listed before. A stopped machine does the same at its next start.
func (p *Provider) ApplyServices(ctx context.Context, id string) error {
	s, err := p.Bundles.Bundle(id).Settings()
	if err != nil {
		return err
	}
	if err := p.checkAnswers(ctx, id, observeTimeout); err != nil {
		return err
	}
	states, err := p.Machines.Supervisor(id).ApplyServices(ctx, s.Services)
	if err != nil {
		return explainUnreachable(id, err)
	}
	return servicesError(id, states)
}

// WaitServices returns when the declared services of a running machine run.
func (p *Provider) WaitServices(ctx context.Context, id string) error {
	if err := p.checkAnswers(ctx, id, observeTimeout); err != nil {
		return err
	}
	st, err := p.Machines.Supervisor(id).Status(ctx, supervisor.WaitServices)
	if err == nil && st.State == supervisor.StateUnreachable {
		return &UnreachableError{ID: id, Err: &supervisor.UnreachableError{Since: st.Heard}}
	}
	if err == nil && st.State != supervisor.StateRunning {
		err = &StartError{ID: id, Err: errors.New("the machine is " + st.Description())}
	}
	if err != nil {
		return err
	}
	return servicesError(id, st.Services)
}
