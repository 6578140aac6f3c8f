package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// takesArgs accepts from least to most arguments; a negative most means any number.
func takesArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return &argsError{command: cmd.CommandPath(), usage: cmd.UseLine(), least: least, most: most, got: len(args)}
		}
		return nil
	}
}

// argsError reports too few or too many arguments.
type argsError struct {
	command, usage   string
	least, most, got int
}

func (e *argsError) Error() string {
	switch {
	case e.most == 0:
		return fmt.Sprintf("%s takes no arguments, but got %d", e.command, e.got)
	case e.got < e.least && e.least == e.most:
		return fmt.Sprintf("%s needs %s, but got %d", e.command, arguments(e.least), e.got)
	case e.got < e.least:
		return fmt.Sprintf("%s needs at least %s, but got %d", e.command, arguments(e.least), e.got)
	}
	return fmt.Sprintf("%s takes at most %s, but got %d", e.command, arguments(e.most), e.got)
}

func (e *argsError) Remedy() string { return "usage: " + e.usage }

func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// showHelp is for commands that only group others: alone they show their help, and an
// unknown subcommand is an error.
func showHelp(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && args[0] != "help" {
			e := &unknownCommandError{command: cmd.CommandPath(), word: args[0]}
			for _, s := range cmd.SuggestionsFor(args[0]) {
				e.meant = append(e.meant, fmt.Sprintf("%q", e.command+" "+s))
			}
			return e
		}
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // in edits; cobra's own default
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// parseLimit reads a flag that limits a wait, such as 5m.
func parseLimit(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("must not be negative")
	}
	return d, err
}

// flagError reports an unknown flag or a value that a flag does not take.
type flagError struct {
	command string
	err     error
}

func newFlagError(cmd *cobra.Command, err error) error {
	return &flagError{command: cmd.CommandPath(), err: err}
}

func (e *flagError) Error() string { return e.err.Error() }
func (e *flagError) Unwrap() error { return e.err }
func (e *flagError) Remedy() string {
	return fmt.Sprintf(`run "%s --help" to list its flags`, e.command)
}

type unknownCommandError struct {
	command, word string
	meant         []string // similar commands, quoted
}

func (e *unknownCommandError) Error() string {
	return fmt.Sprintf("unknown command %q for %q", e.word, e.command)
}

func (e *unknownCommandError) Remedy() string {
	if len(e.meant) > 0 {
		return "did you mean " + strings.Join(e.meant, " or ") + "?"
	}
	return fmt.Sprintf(`run "%s --help" to list its commands`, e.command)
}
