package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/logfile"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/supervisor"
)

// Supervise runs the machine until it ends or ctx does. It is all that the supervisor process
// does. It sends one report on started: that the machine is ready, or why it is not.
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
	say(errors.New("it was stopped before it was ready")) // only the first report counts
	return err
}

// errAbandoned ends a supervisor if the command that started it was killed before the
// supervisor had its lock. Until then, plans cannot see that the machine is starting.
var errAbandoned = errors.New("the command that started this supervisor is gone")

// checkStarter returns an error if the command that started this supervisor is gone. It writes
// a newline to find out; a newline alone is not a report.
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
	unlock, err := p.Bundles.Locks().Supervise(locking, id)
	if err != nil {
		if locking.Err() == nil {
			return err
		}
		by, _ := b.Supervisor().Holder()
		return fmt.Errorf("%s by %s", b.Supervisor().What, by)
	}
	defer unlock()
	if err := checkStarter(started); err != nil {
		return err
	}
	run := runDir(p.Bundles, id)
	dir, err := run.Make()
	if err != nil {
		return err
	}
	ctx, release, err := host.UntilLogout(ctx)
	if err != nil { // not fatal
		p.log.Warn("cannot stop the machine when you log out", "err", err)
	}
	defer release()
	screen, err := logfile.Open(b.Path(bundle.ConsoleLog), nil)
	if err != nil {
		return errors.Join(space.Explain(err, b.Dir), run.Remove())
	}
	err = supervisor.Run(ctx, supervisor.Options{
		RunDir:  dir,
		Console: screen,
		Driver:  p.Loader.Driver,
		Prepare: func(ctx context.Context) (supervisor.Boot, error) { return p.Loader.Prepare(ctx, b, dir) },
		Ready:   ready,
		Settled: func(services []string) { p.noteServices(b, services) },
		Log:     p.log,
	})
	return errors.Join(err, screen.Close(), run.Remove(), b.EndRun(err))
}

// noteServices records the services that the guest has applied, which later plans compare.
func (p *Provider) noteServices(b bundle.Bundle, services []string) {
	booted, user, err := b.Booted()
	if err == nil && booted != nil {
		booted.Services = services
		err = b.MarkBooted(*booted, user)
	}
	if err != nil {
		p.log.Error("cannot record the running services", "err", err)
	}
}
