package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/follow"
)

// WatchOptions say how to watch a project.
type WatchOptions struct {
	RepairDrift bool         // revert changes made outside of the project file
	Poll        bool         // check files every second instead of using notifications
	Log         *slog.Logger // required

	Begin func(file string)    // called when the watch begins
	Tell  func(reconcile.News) // shows news
	View  func() View          // for each plan that is applied
}

// Watch applies changes of the project file as they are saved, until ctx ends.
func Watch(ctx context.Context, open Opener, o Options, wo WatchOptions) error {
	file, err := o.find()
	if err != nil {
		return err
	}
	if o.File, err = filepath.Abs(file); err != nil {
		return err
	}
	if _, err := os.Stat(o.File); err != nil {
		return fmt.Errorf("project file: %w", err)
	}
	if file, err = config.Path(o.File); err != nil {
		return err
	}
	h, err := open()
	if err != nil {
		return err
	}
	unlock, err := h.LockWatch(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()
	sources, machines := newBell(), newBell()
	fo := follow.Options{Changed: sources.ring, Poll: wo.Poll, Log: wo.Log}
	// The project file has its own follower, because only its contents say what else to follow.
	w := &watch{host: h, o: o, wo: wo, file: follow.New(fo), read: follow.New(fo)}
	pulse, err := newPulse(ctx, h, machines)
	if err != nil {
		return errors.Join(err, w.close())
	}
	wo.Begin(o.File)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pulse.run(ctx) })
	g.Go(func() error {
		return reconcile.Watch(ctx, w, reconcile.WatchOptions{Sources: sources, Machines: machines, RepairDrift: wo.RepairDrift})
	})
	return errors.Join(g.Wait(), w.close())
}

// bell is a signal that any goroutine can ring. Several rings before it is heard count once.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// watch adapts a project to the engine's watch.
type watch struct {
	host       Host
	o          Options
	wo         WatchOptions
	file, read *follow.Follower // of the project file, and of the files that it refers to
	project    *Project         // from the last look
}

func (w *watch) close() error { return errors.Join(w.file.Close(), w.read.Close()) }

// Look follows each file before it is read, so that no change is missed.
func (w *watch) Look(ctx context.Context) (reconcile.Plan, error) {
	w.file.Follow(follow.Path{Name: w.o.File})
	pr, err := Load(ctx, func() (Host, error) { return w.host, nil }, w.o)
	if err != nil {
		return reconcile.Plan{}, err
	}
	w.read.Follow(pr.reads()...)
	w.project = pr
	plan, _, err := pr.Plan(ctx, w.o)
	return plan, err
}

// reads returns the paths that a plan depends on, besides the project file and the machines.
func (pr *Project) reads() []follow.Path {
	var paths []follow.Path
	file := func(name string) {
		if name != "" {
			paths = append(paths, follow.Path{Name: name})
		}
	}
	for _, name := range pr.host.Files() {
		file(name)
	}
	for _, m := range pr.Machines {
		file(m.Kernel)
		file(image.FileOf(m.Image))
		if m.Build == nil {
			continue
		}
		s := build.Spec{Context: m.Build.Context, Dockerfile: m.Build.Dockerfile, Project: pr.File}.Sources()
		for _, name := range s.Files {
			file(name)
		}
		paths = append(paths, follow.Path{Name: m.Build.Context, Tree: true, Skip: s.LeftOut})
	}
	return paths
}

// Apply shows a plan, which needs no approval, and carries it out. A plan without changes only
// records the state of machines, and is not shown. Apply locks the project only now, so that a
// watch does not block other commands. It therefore plans again first.
func (w *watch) Apply(ctx context.Context, plan reconcile.Plan) error {
	unlock, err := w.host.LockProject(ctx, w.project.File)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := w.Look(ctx)
	if err != nil {
		return err
	}
	if len(plan.Outdated(now)) > 0 {
		return reconcile.ErrLookAgain
	}
	o := ApplyOptions{View: w.wo.View()}
	if plan.Empty() {
		return w.project.CarryOut(ctx, plan, o)
	}
	return w.project.ApplyFirst(ctx, plan, w.project.order(), o)
}

// Tell shows news.
func (w *watch) Tell(n reconcile.News) { w.wo.Tell(n) }
