package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/reconcile"
)

// applyOptions are the flags of the commands that carry plans out.
type applyOptions struct {
	approved    bool
	json        bool
	parallelism int
}

func (o *applyOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.approved, "auto-approve", false, "do not ask")
	cmd.Flags().BoolVar(&o.json, "json", false, "print events as lines of JSON; needs --auto-approve")
	cmd.Flags().IntVar(&o.parallelism, "parallelism", 4, "how many machines are worked on at the same time, memory permitting")
}

// check refuses flags that cannot be together.
func (o *applyOptions) check() error {
	switch {
	case o.json && !o.approved:
		return errors.New("--json needs --auto-approve: nobody can be asked")
	case o.parallelism < 1:
		return fmt.Errorf("--parallelism is %d, it must be at least 1", o.parallelism)
	}
	return nil
}

// host is the provider as the engine wants it: with the progress shown.
type host struct {
	*provider.Provider
	owner provider.Owner
	view  view
}

func (h host) Create(ctx context.Context, s provider.Spec) error {
	return h.Provider.Create(ctx, s, h.progress(s.ID))
}

func (h host) Replace(ctx context.Context, s provider.Spec, expect *provider.Identity) error {
	return h.Provider.Replace(ctx, s, expect, h.progress(s.ID))
}

func (h host) Repair(ctx context.Context, s provider.Spec, expect *provider.Identity) error {
	return h.Provider.Repair(ctx, s, expect, h.progress(s.ID))
}

func (h host) Start(ctx context.Context, id string) error {
	return h.Provider.Start(ctx, id, h.progress(id))
}

func (h host) progress(id string) image.Progress { return h.view.progress(id) }

func (h host) Note(ctx context.Context, id string, s *provider.Spec, stopped bool) error {
	return h.Provider.Note(ctx, h.owner, id, s, stopped)
}

func (h host) Stop(ctx context.Context, id string) error {
	return h.Provider.Stop(ctx, id, provider.StopOptions{})
}

// carryOut shows the plan, asks, and applies it.
func (a *app) carryOut(ctx context.Context, pr *project, plan reconcile.Plan, o applyOptions) error {
	v := a.view(o.json)
	v.plan(plan)
	if !plan.Empty() && !o.approved {
		if err := a.approve(ctx, plan); err != nil {
			return err
		}
	}
	for _, platform := range booted(plan) {
		if err := a.warnEmulation(ctx, pr.provider, platform); err != nil {
			return err
		}
	}
	return a.apply(ctx, pr, plan, v, o)
}

// apply makes an approved plan true. A plan without changes has notes to be taken.
func (a *app) apply(ctx context.Context, pr *project, plan reconcile.Plan, v view, o applyOptions) error {
	stop := context.AfterFunc(ctx, v.interrupted)
	defer stop()
	var did reconcile.Outcome
	err := reconcile.Apply(ctx, host{pr.provider, pr.owner(), v}, plan, reconcile.Options{
		Parallelism: o.parallelism, Memory: provider.AvailableMemory(),
		Events: func(e reconcile.Event) {
			did.Add(e)
			v.event(e)
		},
	})
	v.outcome(plan, did, err)
	return err
}

// booted are the platforms of the machines that the plan boots, in its order.
func booted(plan reconcile.Plan) []string {
	var platforms []string
	for _, c := range plan.Changes {
		switch c.Action {
		case reconcile.None, reconcile.Delete, reconcile.Stop, reconcile.Update:
		default:
			if !c.Stopped && c.Want != nil {
				platforms = append(platforms, c.Want.Platform)
			}
		}
	}
	return platforms
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
