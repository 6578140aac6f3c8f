package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/supervisor"
)

// Supervise runs the machine until it ends or ctx does. It is the whole life of the
// supervisor process. One report on started says that the machine is ready, or why it
// cannot be.
func (p *Provider) Supervise(ctx context.Context, id string, started io.WriteCloser) error {
	say := func(err error) {
		if started != nil {
			sendReport(started, err)
			started = nil
		}
	}
	err := p.supervise(ctx, id, started, func() { say(nil) })
	if err != nil {
		say(err)
	}
	say(errors.New("it was stopped before it was ready")) // the first report counts
	return err
}

// errAbandoned ends a supervisor whose starter was killed before the supervisor had its
// lock. Until then a plan cannot see that the machine is about to run.
var errAbandoned = errors.New("the command that started this supervisor is gone")

// checkStarter returns an error once the command that started this supervisor is gone. It
// writes a newline, which alone is not a report.
func checkStarter(started io.Writer) error {
	if started == nil {
		return nil
	}
	if _, err := started.Write([]byte("\n")); err != nil {
		return fmt.Errorf("%w: %w", errAbandoned, err)
	}
	return nil
}

func (p *Provider) supervise(ctx context.Context, id string, started io.Writer, ready func()) error {
	b, err := p.Bundles.Existing(id)
	if err != nil {
		return err
	}
	locking, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	unlock, err := b.Supervisor().Keep(locking)
	if err != nil {
		return fmt.Errorf("machine %s already has a supervisor: %w", id, err)
	}
	defer unlock()
	if err := checkStarter(started); err != nil {
		return err
	}
	runDir, err := host.MakeRunDir(p.Bundles.Home(), id)
	if err != nil {
		return err
	}
	ctx, release, err := host.UntilLogout(ctx)
	if err != nil { // the machine can run all the same
		p.log.Warn("cannot stop the machine when you log out", "err", err)
	}
	defer release()
	err = supervisor.Run(ctx, supervisor.Options{
		RunDir:  runDir,
		Driver:  p.Loader.Driver,
		Prepare: func(ctx context.Context) (supervisor.Boot, error) { return p.Loader.Prepare(ctx, b, runDir) },
		Ready:   ready,
		Settled: func(services []string) { p.noteServices(b, services) },
		Log:     p.log,
	})
	return errors.Join(err, os.RemoveAll(runDir), b.EndRun())
}

// noteServices records which services the running machine has taken, so that a plan
// knows what is left to do.
func (p *Provider) noteServices(b bundle.Bundle, services []string) {
	booted, err := b.Booted()
	if err == nil && booted != nil {
		booted.Services = services
		err = b.MarkBooted(*booted)
	}
	if err != nil {
		p.log.Error("cannot record the running services", "err", err)
	}
}
