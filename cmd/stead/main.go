// Command stead keeps a project's Linux machines in the state that its machines.hcl
// declares.
//
// This directory contains the user interface: flags, prompts and views, one file per
// command. Package project implements the project commands; packages config, reconcile and
// provider define machines and decide what must change.
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
	app := &app{out: &printer{os.Stdout}, err: &printer{os.Stderr}, in: os.Stdin, level: log.WarnLevel}
	os.Exit(app.run(ctx, os.Args[1:]))
}
