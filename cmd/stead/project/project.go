// Package project is what stead's project commands do, without a terminal: it reads a
// project file, looks at the host, plans, and applies.
//
// Flags, prompts and views are its caller's. The host is behind [Host], so that the
// package runs in a test without machines, and with another provider than this host's.
package project

import (
	"cmp"
	"context"
	"os"
	"slices"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/reconcile"
)

// Options say which project is meant, and what is planned for it.
type Options struct {
	File string // the project file; empty: the nearest one, from the working directory up

	Pull        bool     // ask registries what tags mean now
	Target      []string // plan for these machines, and those that they depend on, only
	Replace     []string // replace these machines
	NoRestart   bool     // defer changes that need a restart
	RefreshOnly bool     // plan for drift only
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

// Project is a project file beside what was found on the host.
type Project struct {
	*config.Project
	Found []machine.Machine

	host Host
}

// Load reads the project file and looks at the host.
func Load(ctx context.Context, h Host, o Options) (*Project, error) {
	file, err := o.find()
	if err != nil {
		return nil, err
	}
	declared, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	found, err := h.Machines(ctx)
	return &Project{Project: declared, Found: found, host: h}, err
}

// LoadLocked is Load for a command that plans and changes: no other one does until unlock,
// so that what is applied is what was shown.
func LoadLocked(ctx context.Context, h Host, o Options) (pr *Project, unlock func(), err error) {
	file, err := o.find()
	if err != nil {
		return nil, nil, err
	}
	if file, err = config.Path(file); err != nil {
		return nil, nil, err
	}
	if unlock, err = h.LockProject(ctx, file); err != nil {
		return nil, nil, err
	}
	// The file is read only now: it may have changed during a wait for another command.
	if pr, err = Load(ctx, h, o); err != nil {
		unlock()
		return nil, nil, err
	}
	return pr, unlock, nil
}

// Owner is the owner of the project's machines.
func (pr *Project) Owner() machine.Owner { return reconcile.OwnerOf(pr.Project) }

// Declares reports whether the file declares a machine, by its name or its former one.
func (pr *Project) Declares(id string) bool {
	return slices.ContainsFunc(pr.Machines, func(m config.Machine) bool { return m.Name == id }) ||
		slices.ContainsFunc(pr.Moved, func(m config.Move) bool { return m.From == id })
}

// Find returns the machine that was found under a name, nil when there is none.
func (pr *Project) Find(id string) *machine.Machine {
	i := slices.IndexFunc(pr.Found, func(m machine.Machine) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return &pr.Found[i]
}

// order returns the names of the machines as they stand in the file.
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

// Situation returns what a plan depends on: the file beside the host.
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

// TeardownSituation is the situation for plans that only stop or delete machines. Their
// images, which may be unknown by now, do not matter.
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
