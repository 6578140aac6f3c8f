package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/charmbracelet/fang"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
	"github.com/stead-vm/stead/reconcile/follow"
)

// What --drift takes.
const (
	driftReport = "report"
	driftRepair = "repair"
)

func newWatchCmd(a *app) *cobra.Command {
	var o projectOptions
	var poll bool
	drift := driftReport
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Apply changes of the project file as they are saved",
		Long: "Keep the machines as the project file says while it is worked on: whenever it, or something that\n" +
			"it reads, is saved, what keeps data is applied. What loses data waits until you run \"stead apply\",\n" +
			"and machines that depend on such a one and do not run wait with it.\n\n" +
			"What was changed outside of the file, as when somebody stops a machine, is only shown, because a\n" +
			"watch should not undo what a person does. --drift=repair takes it back.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if drift != driftReport && drift != driftRepair {
				return fmt.Errorf("--drift is %s or %s, not %q", driftReport, driftRepair, drift)
			}
			return a.watch(cmd.Context(), o, reconcile.WatchOptions{RepairDrift: drift == driftRepair}, poll)
		},
	}
	o.flags(cmd)
	a.lockFlag(cmd)
	cmd.Flags().StringVar(&drift, "drift", drift, "what was changed outside of the file: report or repair")
	cmd.Flags().BoolVar(&poll, "poll", false, "look at files every second, where the system does not tell of their changes")
	_ = cmd.RegisterFlagCompletionFunc("drift", cobra.FixedCompletions([]string{driftReport, driftRepair}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// watch follows the project until ctx ends.
func (a *app) watch(ctx context.Context, o projectOptions, wo reconcile.WatchOptions, poll bool) error {
	file, err := o.find()
	if err != nil {
		return err
	}
	if o.file, err = filepath.Abs(file); err != nil {
		return err
	}
	if _, err := os.Stat(o.file); err != nil {
		return fmt.Errorf("project file: %w", err)
	}
	if file, err = config.Path(o.file); err != nil {
		return err
	}
	p, err := a.open()
	if err != nil {
		return err
	}
	unlock, err := p.LockWatch(ctx, file)
	if err != nil {
		return err
	}
	defer unlock()
	sources, machines := newBell(), newBell()
	fo := follow.Options{Changed: sources.ring, Poll: poll, Log: a.logger()}
	// The file is followed for itself, because what else is is only known from it.
	w := &watched{app: a, o: o, file: follow.New(fo), read: follow.New(fo)}
	pulse, err := newPulse(ctx, p, machines)
	if err != nil {
		return errors.Join(err, w.close())
	}
	fmt.Fprintf(a.out, "Watching %s. Ctrl-C ends it.\n", o.file)
	wo.Sources, wo.Machines = sources, machines
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pulse.run(ctx) })
	g.Go(func() error { return reconcile.Watch(ctx, w, wo) })
	return errors.Join(g.Wait(), w.close())
}

// bell is rung from anywhere and heard once, however often it was rung in between.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// watched is the project as the engine's watch wants it.
type watched struct {
	app        *app
	o          projectOptions
	file, read *follow.Follower // the project file, and what it reads
	project    *project         // of the last look
}

func (w *watched) close() error { return errors.Join(w.file.Close(), w.read.Close()) }

// Look follows each file before it is read, so that no change is missed.
func (w *watched) Look(ctx context.Context) (reconcile.Plan, error) {
	w.file.Follow(follow.Path{Name: w.o.file})
	pr, err := w.app.load(ctx, w.o)
	if err != nil {
		return reconcile.Plan{}, err
	}
	w.read.Follow(pr.reads()...)
	w.project = pr
	return pr.plan(ctx, w.o)
}

// reads is what the project's plan depends on beside its file and the machines.
func (pr *project) reads() []follow.Path {
	paths := []follow.Path{{Name: pr.provider.Images().IndexFile()}}
	file := func(name string) {
		if name != "" {
			paths = append(paths, follow.Path{Name: name})
		}
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

// Apply shows a plan and carries it out: nothing in it needs approval. One without changes
// has notes to be taken, which nobody has to see. The project is locked only now, as a
// watch must not keep others away, so that it looks again first.
func (w *watched) Apply(ctx context.Context, plan reconcile.Plan) error {
	unlock, err := w.project.provider.LockProject(ctx, w.project.File)
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
	if plan.Empty() {
		return w.app.apply(ctx, w.project, plan, w.app.view(false), applyOptions{})
	}
	fmt.Fprintln(w.app.out)
	return w.app.carryOutFirst(ctx, w.project, plan, applyOptions{approved: true})
}

// Tell prints news.
func (w *watched) Tell(n reconcile.News) {
	out := w.app.out
	fmt.Fprintln(out)
	switch {
	case n.Err != nil:
		w.app.printError(w.app.err, fang.Styles{}, n.Err)
	case n.Mended:
		fmt.Fprintln(out, "It is in order again.")
	case n.Waiting != nil:
		(&humanView{app: w.app}).plan(*n.Waiting)
		fmt.Fprintln(out, styles(out).bold("Waiting for you:"), `this is not done by a watch. "stead apply" does it.`)
	}
}
