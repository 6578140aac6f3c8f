// Package project implements stead's project commands without their user interface: it reads a
// project file and the state of the host, plans, and applies.
//
// Callers provide flags, prompts and views. The host is behind [Host], so that tests run without
// machines.
package project

import (
	"cmp"
	"context"
	"os"
	"slices"

	"github.com/stead-vm/stead/provider/lock"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

// Options say which project to use, and how to plan.
type Options struct {
	File string // the project file; empty: the nearest one, from the working directory up

	Pull        bool     // ask registries what tags mean now
	Target      []string // plan only these machines and those that they depend on
	Replace     []string // replace these machines
	NoRestart   bool     // defer changes that need a restart
	RefreshOnly bool     // plan only to accept drift
}

// find returns the path of the project file: the named one, else the nearest.
func (o *Options) find() (string, error) {
	if o.File != "" {
		return o.File, nil
	}
	cwd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return config.Find(cwd)
}

// Project is a project file and the machines of the host.
type Project struct {
	*config.Project
	Found []machine.Machine

	host Host
}

// Load reads the project file and the machines of the host.
func Load(ctx context.Context, open Opener, o Options) (*Project, error) {
	file, err := o.find()
	if err != nil {
		return nil, err
	}
	declared, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	h, err := open()
	if err != nil {
		return nil, err
	}
	found, err := h.Machines(ctx)
	return &Project{Project: declared, Found: found, host: h}, err
}

// LoadLocked is Load for commands that change the project. It keeps other commands from
// changing it until unlock, so that the applied plan is the one that was shown.
func LoadLocked(ctx context.Context, open Opener, o Options) (pr *Project, unlock func(), err error) {
	file, err := o.find()
	if err != nil {
		return nil, nil, err
	}
	if file, err = config.Path(file); err != nil {
		return nil, nil, err
	}
	h, err := open()
	if err != nil {
		return nil, nil, err
	}
	if unlock, err = h.LockProject(ctx, file); err != nil {
		return nil, nil, err
	}
	// Read the file only now: it may have changed during the wait for the lock.
	if pr, err = Load(ctx, open, o); err != nil {
		unlock()
		return nil, nil, err
	}
	return pr, unlock, nil
}

// Owner returns the owner of the project's machines.
func (pr *Project) Owner() machine.Owner { return reconcile.OwnerOf(pr.Project) }

// Declares reports whether the file declares a machine, by its current or its former name.
func (pr *Project) Declares(id string) bool {
	return slices.ContainsFunc(pr.Machines, func(m config.Machine) bool { return m.Name == id }) ||
		slices.ContainsFunc(pr.Moved, func(m config.Move) bool { return m.From == id })
}

// Find returns the host's machine with the given name, or nil if there is none.
func (pr *Project) Find(id string) *machine.Machine {
	i := slices.IndexFunc(pr.Found, func(m machine.Machine) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return &pr.Found[i]
}

// Holder returns the command that holds the project's lock, if one does.
func (pr *Project) Holder() (by lock.Holder, held bool) { return pr.host.ProjectHolder(pr.File) }

// order returns the names of the machines in the order of the file.
func (pr *Project) order() []string {
	inFile := slices.SortedStableFunc(slices.Values(pr.Machines), func(a, b config.Machine) int {
		return cmp.Compare(a.Pos.Line, b.Pos.Line)
	})
	names := make([]string, len(inFile))
	for i, m := range inFile {
		names[i] = m.Name
	}
	return names
}

// Situation returns what a plan depends on: the file and the host.
func (pr *Project) Situation(ctx context.Context, o Options) (reconcile.Situation, error) {
	s := reconcile.Situation{
		Owner: pr.Owner(), Have: pr.Found, Moved: reconcile.MovedOf(pr.Project), FileOrder: pr.order(),
		Target: o.Target, Replace: o.Replace, NoRestart: o.NoRestart,
	}
	d, err := pr.host.Defaults(ctx, pr.Owner(), o.Pull)
	if err != nil {
		return s, err
	}
	d.Found = pr.Found
	if s.Want, err = reconcile.Desired(pr.Project, d); err != nil {
		return s, err
	}
	s.Applied, err = pr.host.Applied(s.Owner)
	return s, err
}

// TeardownSituation returns the situation for plans that only stop or delete machines. It does
// not resolve images, which may no longer exist.
func (pr *Project) TeardownSituation(o Options) reconcile.Situation {
	s := reconcile.Situation{Owner: pr.Owner(), Have: pr.Found, Target: o.Target}
	for _, m := range pr.Machines {
		s.Want = append(s.Want, reconcile.Goal{Spec: machine.Spec{ID: m.Name}, After: m.DependsOn})
	}
	return s
}

// Plan compares the file with the host.
func (pr *Project) Plan(ctx context.Context, o Options) (reconcile.Plan, reconcile.Situation, error) {
	s, err := pr.Situation(ctx, o)
	if err != nil {
		return reconcile.Plan{}, s, err
	}
	plan, err := reconcile.Diff(s)
	if o.RefreshOnly {
		plan = plan.OnlyDrift()
	}
	return plan, s, err
}
