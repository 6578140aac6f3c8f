package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

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
	file := o.file
	if file == "" {
		cwd, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		if file, err = config.Find(cwd); err != nil {
			return nil, err
		}
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

// first is the machine that stands first in the file, or "".
func (pr *project) first() string {
	if len(pr.Machines) == 0 {
		return ""
	}
	return slices.MinFunc(pr.Machines, func(a, b config.Machine) int { return cmp.Compare(a.Pos.Line, b.Pos.Line) }).Name
}

// owner is whose the project's machines are.
func (pr *project) owner() provider.Owner { return reconcile.OwnerOf(pr.Project) }

// situation is what a plan depends on: the file beside the host.
func (pr *project) situation(ctx context.Context, o projectOptions) (reconcile.Situation, error) {
	s := reconcile.Situation{
		Owner: pr.owner(), Have: pr.found, Moved: reconcile.MovedOf(pr.Project),
		Target: o.target, Replace: o.replace, NoRestart: o.noRestart,
	}
	user, err := provider.HostUser()
	if err != nil {
		return s, err
	}
	platform := image.HostPlatform()
	s.Want, err = reconcile.Desired(pr.Project, reconcile.Defaults{
		Settings: provider.DefaultSettings(),
		Platform: platform.String(),
		User:     user,
		Found:    pr.found,
		Digest: func(reference string) (string, error) {
			img, err := pr.provider.Images().Resolve(ctx, reference, platform, o.pull)
			return img.Digest, err
		},
		Built: func(b provider.Build) (reference, digest string, err error) {
			return pr.provider.BuiltImage(ctx, b, pr.owner(), platform.String())
		},
	})
	if err != nil {
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
	return reconcile.Diff(s)
}

// host is the provider as the engine wants it: with the progress shown.
type host struct {
	*provider.Provider
	owner provider.Owner
	bars  *progress
}

func (h host) Create(ctx context.Context, s provider.Spec) error {
	return h.Provider.Create(ctx, s, h.bars.event(s.ID))
}

func (h host) Replace(ctx context.Context, s provider.Spec) error {
	return h.Provider.Replace(ctx, s, h.bars.event(s.ID))
}

func (h host) Repair(ctx context.Context, s provider.Spec) error {
	return h.Provider.Repair(ctx, s, h.bars.event(s.ID))
}

func (h host) Note(ctx context.Context, id string, s *provider.Spec, stopped bool) error {
	return h.Provider.Note(ctx, h.owner, id, s, stopped)
}

func (h host) Stop(ctx context.Context, id string) error {
	return h.Provider.Stop(ctx, id, provider.StopOptions{})
}

// notApprovedError ends a command that a person did not approve.
type notApprovedError struct{ asked bool }

func (e *notApprovedError) Error() string {
	if e.asked {
		return "not approved: nothing was changed"
	}
	return "nobody can approve here, as there is no terminal: nothing was changed"
}

func (e *notApprovedError) Remedy() string {
	if e.asked {
		return ""
	}
	return "look at what would change, then run it with --auto-approve"
}

// carryOut shows the plan, asks, and applies it.
func (a *app) carryOut(ctx context.Context, pr *project, plan reconcile.Plan, approved bool) error {
	a.showPlan(plan)
	if plan.Empty() {
		return nil
	}
	if !approved {
		if err := a.approve(ctx, plan); err != nil {
			return err
		}
	}
	if boots(plan) {
		if err := a.warnEmulation(ctx, pr.provider); err != nil {
			return err
		}
	}
	bars := newProgress(a.err)
	err := reconcile.Apply(ctx, host{pr.provider, pr.owner(), bars}, plan, reconcile.Options{Events: bars.engineEvent})
	bars.wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\n%s %s\n", styles(a.out).add("Done:"), outcome(plan))
	return nil
}

// boots tells whether the plan starts a machine.
func boots(plan reconcile.Plan) bool {
	return plan.Count(reconcile.None, reconcile.Delete, reconcile.Stop, reconcile.Update) != len(plan.Changes)
}

// outcome says what was done, an action a word.
func outcome(plan reconcile.Plan) string {
	words := []struct {
		word    string
		actions []reconcile.Action
	}{
		{"created", []reconcile.Action{reconcile.Create}},
		{"updated", []reconcile.Action{reconcile.Update, reconcile.Reconfigure}},
		{"restarted", []reconcile.Action{reconcile.Restart}},
		{"moved", []reconcile.Action{reconcile.Move}},
		{"started", []reconcile.Action{reconcile.Start}},
		{"stopped", []reconcile.Action{reconcile.Stop}},
		{"repaired", []reconcile.Action{reconcile.Repair}},
		{"replaced", []reconcile.Action{reconcile.Replace}},
		{"deleted", []reconcile.Action{reconcile.Delete}},
	}
	var parts []string
	for _, w := range words {
		if n := plan.Count(w.actions...); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w.word))
		}
	}
	return strings.Join(parts, ", ") + "."
}

// approve asks whether to carry out the plan.
func (a *app) approve(ctx context.Context, plan reconcile.Plan) error {
	question := "Do this?"
	if plan.Destructive() {
		question = styles(a.out).remove("Disks will be lost.") + " Do this all the same?"
	}
	return a.ask(ctx, question)
}

// ask wants the literal yes.
func (a *app) ask(ctx context.Context, question string) error {
	if !isTerminal(a.in) {
		return &notApprovedError{}
	}
	fmt.Fprintf(a.out, "\n%s Only \"yes\" is taken as approval: ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n') // what ends early is no yes
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.out)
		return context.Cause(ctx)
	case text := <-answer:
		if text != "yes" {
			return &notApprovedError{asked: true}
		}
		return nil
	}
}

// showPlan prints the plan in the colours of its symbols.
func (a *app) showPlan(plan reconcile.Plan) {
	style := styles(a.out)
	for line := range strings.Lines(reconcile.Text(plan)) {
		text, end := strings.CutSuffix(line, "\n")
		switch symbol, _, _ := strings.Cut(strings.TrimLeft(text, " "), " "); {
		case !strings.Contains(text, "machine."):
		case symbol == "+":
			text = style.add(text)
		case symbol == "~":
			text = style.change(text)
		case symbol == "-" || symbol == "-/+":
			text = style.remove(text)
		}
		fmt.Fprint(a.out, text)
		if end {
			fmt.Fprintln(a.out)
		}
	}
}
