package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/stead-vm/stead/reconcile"
)

// notApprovedError ends a command that was not approved.
type notApprovedError struct{ asked bool }

func (e *notApprovedError) Error() string {
	if e.asked {
		return "not approved. Nothing was changed"
	}
	return "cannot ask for approval: standard input is not a terminal. Nothing was changed"
}

func (e *notApprovedError) Remedy() string {
	if e.asked {
		return ""
	}
	return "review the plan, then run the command again with --auto-approve"
}

// approve asks whether to apply the plan.
func (a *app) approve(ctx context.Context, plan reconcile.Plan) error {
	question := "Apply this plan?"
	if plan.Destructive() {
		question = styles(a.out).remove("Disks will be lost.") + " Apply this plan anyway?"
	}
	return a.ask(ctx, question)
}

// ask accepts only a literal yes.
func (a *app) ask(ctx context.Context, question string) error {
	if !isTerminal(a.in) {
		return &notApprovedError{}
	}
	fmt.Fprintf(a.out, "\n%s Only \"yes\" will be accepted: ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n') // an input that ends early is not a yes
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
