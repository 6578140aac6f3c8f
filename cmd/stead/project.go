package main

import (
	"cmp"
	"context"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
)

// projectOptions are the flags of the commands that work on a project file.
type projectOptions struct {
	file string
	pull bool

	target, replace []string
	noRestart       bool
	refreshOnly     bool
}

func (o *projectOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "project file (default: machines.hcl here or in a parent folder)")
	_ = cmd.MarkFlagFilename("file", "hcl")
}

// planFlags are those that change what is planned.
func (o *projectOptions) planFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.pull, "pull", false, "ask registries what tags mean now, instead of what they meant when pulled")
	cmd.Flags().StringSliceVar(&o.target, "target", nil, "plan for this machine, and those that it depends on, alone")
	cmd.Flags().StringSliceVar(&o.replace, "replace", nil, "make this machine anew, which loses its disk")
	cmd.Flags().BoolVar(&o.refreshOnly, "refresh-only", false, "change no machine: only show, and with apply accept, what was changed outside of the file")
	cmd.Flags().BoolVar(&o.noRestart, "no-restart", false, "restart no machine: what takes a restart waits for the next one")
}

// project is a project file beside what was found on the host.
type project struct {
	*config.Project
	provider *provider.Provider
	found    []provider.Machine
}

// load reads the project file and looks at the host.
func (a *app) load(ctx context.Context, o projectOptions) (*project, error) {
	file, err := o.find()
	if err != nil {
		return nil, err
	}
	declared, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	p, err := a.open()
	if err != nil {
		return nil, err
	}
	found, err := p.Observe(ctx)
	return &project{declared, p, found}, err
}

// find is the path of the project file: the named one, else the nearest.
func (o *projectOptions) find() (string, error) {
	if o.file != "" {
		return o.file, nil
	}
	cwd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return config.Find(cwd)
}

// first is the machine that stands first in the file, or "".
func (pr *project) first() string {
	if len(pr.Machines) == 0 {
		return ""
	}
	return slices.MinFunc(pr.Machines, func(a, b config.Machine) int { return cmp.Compare(a.Pos.Line, b.Pos.Line) }).Name
}

// owner is whose the project's machines are.
func (pr *project) owner() provider.Owner { return reconcile.OwnerOf(pr.Project) }

// hostDefaults is what project files leave to this host.
func hostDefaults(ctx context.Context, p *provider.Provider, pull bool) (reconcile.Defaults, error) {
	user, err := provider.HostUser()
	return reconcile.Defaults{
		Settings: provider.DefaultSettings(),
		Platform: image.HostPlatform().String(),
		User:     user,
		Digest: func(reference, platform string) (string, error) {
			want, err := image.ParsePlatform(platform)
			if err != nil {
				return "", err
			}
			img, err := p.Images().Resolve(ctx, reference, want, pull)
			return img.Digest, err
		},
	}, err
}

// situation is what a plan depends on: the file beside the host.
func (pr *project) situation(ctx context.Context, o projectOptions) (reconcile.Situation, error) {
	s := reconcile.Situation{
		Owner: pr.owner(), Have: pr.found, Moved: reconcile.MovedOf(pr.Project),
		Target: o.target, Replace: o.replace, NoRestart: o.noRestart,
	}
	d, err := hostDefaults(ctx, pr.provider, o.pull)
	if err != nil {
		return s, err
	}
	d.Found = pr.found
	d.Built = func(b provider.Build, platform string) (reference, digest string, err error) {
		return pr.provider.BuiltImage(ctx, b, pr.owner(), platform)
	}
	if s.Want, err = reconcile.Desired(pr.Project, d); err != nil {
		return s, err
	}
	s.Applied, err = pr.provider.Applied(s.Owner)
	return s, err
}

// ending is the situation for plans that only take machines down: images, which may not
// be known any more, do not matter.
func (pr *project) ending(o projectOptions) reconcile.Situation {
	s := reconcile.Situation{Owner: pr.owner(), Have: pr.found, Target: o.target}
	for _, m := range pr.Machines {
		s.Want = append(s.Want, reconcile.Wanted{Spec: provider.Spec{ID: m.Name}, After: m.DependsOn})
	}
	return s
}

// plan compares the file with the host.
func (pr *project) plan(ctx context.Context, o projectOptions) (reconcile.Plan, error) {
	s, err := pr.situation(ctx, o)
	if err != nil {
		return reconcile.Plan{}, err
	}
	return o.diff(s)
}

// diff plans for a situation.
func (o *projectOptions) diff(s reconcile.Situation) (reconcile.Plan, error) {
	plan, err := reconcile.Diff(s)
	if o.refreshOnly {
		plan = plan.OnlyDrift()
	}
	return plan, err
}
