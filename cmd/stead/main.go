// Command stead keeps a project's Linux machines in the state that its machines.hcl
// declares.
//
// This directory is the terminal: flags, prompts, views, one file per command. What the
// project commands do is in package project beneath; what a machine is and what must
// change is decided in config, reconcile and provider.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/log"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first interrupt finishes or undoes the running step, the second ends at once.
	context.AfterFunc(ctx, stop)
	app := &app{out: os.Stdout, err: os.Stderr, in: os.Stdin, level: log.WarnLevel}
	os.Exit(app.run(ctx, os.Args[1:]))
}
