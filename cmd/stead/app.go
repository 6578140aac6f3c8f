package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/stead-vm/stead/cmd/stead/project"

	"github.com/charmbracelet/fang"
	"github.com/charmbracelet/log"
	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/provider/fault"
	"github.com/stead-vm/stead/provider/local"
)

// app holds the streams and state that all commands share.
type app struct {
	in       *os.File
	out, err *printer

	cause    func() error // why the program is to end; nil while it is not
	debug    bool
	level    log.Level       // the least that is logged
	provider *local.Provider // opened by open
	warned   bool            // a warning was printed

	command     string        // the words of the command line that name the command
	lockTimeout time.Duration // see local.Options
}

// collectLessGarbage is for commands that only look: their process ends soon, and a quarter
// of the time of a large plan would go into the garbage collector.
func collectLessGarbage() { debug.SetGCPercent(400) }

// exitError ends the program with a code and without a message, as when a command in a
// machine failed, which has printed its own.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// run executes the command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.cause = func() error { return context.Cause(ctx) }
	root := newRootCmd(a)
	root.SetArgs(args)
	root.SetOut(a.out.raw) // fang colours the help itself
	root.SetErr(a.err.raw)
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(a.printError), fang.WithoutManpage())
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case a.interrupted(err):
		return 128 + int(syscall.SIGINT)
	}
	return 1
}

// printError prints err and its hints. No other function prints errors.
func (a *app) printError(_ io.Writer, _ fang.Styles, err error) {
	var exit exitError
	if errors.As(err, &exit) {
		return
	}
	w, style := a.err, styles(a.err)
	if a.interrupted(err) {
		fmt.Fprintln(w, style.err("Interrupted."))
		return
	}
	fmt.Fprintf(w, "%s %v\n", style.err("Error:"), err)
	for _, hint := range fault.Remedies(err) {
		fmt.Fprintf(w, "%s %s\n", style.hint("Hint:"), hint)
	}
}

// interrupted reports whether err is an interrupt only.
func (a *app) interrupted(err error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each is asked
		return !slices.ContainsFunc(all.Unwrap(), func(e error) bool { return !a.interrupted(e) })
	}
	cause := a.cause()
	return errors.Is(err, context.Canceled) || cause != nil && errors.Is(err, cause)
}

// host returns this computer as the project commands want it.
func (a *app) host() (project.Host, error) {
	p, err := a.open()
	if err != nil {
		return nil, err
	}
	return project.LocalHost(p), nil
}

// open returns the provider of this user's state directory.
func (a *app) open() (*local.Provider, error) {
	if a.provider != nil {
		return a.provider, nil
	}
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	a.provider, err = local.New(o)
	return a.provider, err
}

// options returns those of this user's provider.
func (a *app) options() (local.Options, error) {
	home, err := stateDir()
	if err != nil {
		return local.Options{}, err
	}
	exe, err := os.Executable()
	return local.Options{
		Home: home, Exe: exe, Version: version(), Accel: os.Getenv("STEAD_ACCEL"), Builder: os.Getenv("STEAD_BUILDER"), Log: a.logger(),
		Command: a.command, LockTimeout: a.lockTimeout,
	}, err
}

func (a *app) logger() *slog.Logger {
	level := a.level
	if a.debug {
		level = log.DebugLevel
	}
	return slog.New(log.NewWithOptions(a.err, log.Options{Level: level, ReportTimestamp: level < log.WarnLevel}))
}

// stateDir returns $STEAD_HOME, else the system's place for a program's data.
func stateDir() (string, error) {
	if dir := os.Getenv("STEAD_HOME"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the state directory: %w; set STEAD_HOME", err)
	}
	return filepath.Join(dataDir(home), "stead"), nil
}

// target returns the machine that a command is about: the named one, else the default,
// else the only one.
func (a *app) target(ctx context.Context, name string) (*local.Provider, string, error) {
	p, err := a.open()
	if err != nil || name != "" {
		return p, name, err
	}
	id, err := p.Bundles.Default()
	if err != nil || id != "" {
		return p, id, err
	}
	machines, err := p.Machines.List(ctx)
	if err != nil {
		return nil, "", err
	}
	if len(machines) == 1 {
		return p, machines[0].ID, nil
	}
	return nil, "", &noTargetError{len(machines)}
}

type noTargetError struct{ machines int }

func (e *noTargetError) Error() string {
	if e.machines == 0 {
		return "there are no machines"
	}
	return fmt.Sprintf("there are %d machines and no default machine", e.machines)
}

func (e *noTargetError) Remedy() string {
	if e.machines == 0 {
		return `write a machines.hcl and run "stead apply", or run "stead machine create IMAGE"`
	}
	return `name the machine, as in "stead run -n NAME"; run "stead ls" to list the machines`
}

// onTarget returns the function of a command that takes an optional machine name.
func (a *app) onTarget(work func(ctx context.Context, p *local.Provider, id string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		name := ""
		if len(args) > 0 {
			name = args[0]
		}
		p, id, err := a.target(cmd.Context(), name)
		if err != nil {
			return err
		}
		return work(cmd.Context(), p, id)
	}
}

// nameArg completes machine names.
func (a *app) nameArg(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	p, err := a.open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	machines, err := p.Machines.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, m := range machines {
		names = append(names, m.ID)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
