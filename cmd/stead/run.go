package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stead-vm/stead/provider/guest"
)

// runOptions are the flags of run.
type runOptions struct {
	name, user, cwd, envFile string
	root, detach, tty        bool
	interactive              bool
	uid, gid                 idFlag
	env                      []string
	timeout                  time.Duration
	noAgent                  bool
}

func newRunCmd(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [-n NAME] [CMD...]",
		Short: "Run a command in a machine",
		Long: "Run a command in a machine, which is booted if it is stopped. CMD is joined by spaces and run by\n" +
			"your shell there; stead exits with its exit code. Without CMD a login shell opens.\n\n" +
			"The working directory is the same as on the host if the machine mounts it. CMD gets a terminal\n" +
			"if standard input and output are terminals.",
		Example: "stead run make test\nstead run -n test 'echo $HOME'\ntar c src | stead run tar t",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runInside(cmd.Context(), o, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&o.name, "name", "n", "", "machine to run in (default: the default machine)")
	f.BoolVarP(&o.detach, "detach", "d", false, "start CMD and leave it running in the background")
	f.BoolVar(&o.root, "root", false, "run as root")
	f.StringVarP(&o.user, "user", "u", "", "run as this user: NAME or UID[:GID]")
	f.Var(&o.uid, "uid", "run as this user id")
	f.Var(&o.gid, "gid", "run with this primary group id")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set KEY=VALUE, or pass on the host's KEY")
	f.StringVar(&o.envFile, "env-file", "", "read KEY=VALUE lines from this file, as docker run does")
	f.StringVarP(&o.cwd, "cwd", "w", "", "working directory in the machine")
	f.BoolVarP(&o.interactive, "interactive", "i", true, "pass on standard input")
	f.BoolVarP(&o.tty, "tty", "t", false, "give CMD a terminal even if output is redirected")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "workdir" {
			name = "cwd"
		}
		return pflag.NormalizedName(name)
	})
	o.addSessionFlags(f)
	_ = cmd.RegisterFlagCompletionFunc("name", a.nameArg)
	return cmd
}

func newShellCmd(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:     "shell [-n NAME]",
		Short:   "Open a login shell in a machine",
		Example: "stead shell\nstead shell -n test --root",
		Args:    takesArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.interactive = true
			return a.runInside(cmd.Context(), o, nil)
		},
	}
	cmd.Flags().StringVarP(&o.name, "name", "n", "", "machine to run in (default: the default machine)")
	cmd.Flags().BoolVar(&o.root, "root", false, "open the shell as root")
	o.addSessionFlags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("name", a.nameArg)
	return cmd
}

// addSessionFlags adds the flags that run and shell share.
func (o *runOptions) addSessionFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noAgent, "no-agent", false, "do not let the session use your SSH agent")
	f.Func("timeout", "give up if a running machine does not answer within this time, such as 30s (default: no limit)",
		func(text string) (err error) {
			o.timeout, err = parseLimit(text)
			return err
		})
}

func (a *app) runInside(ctx context.Context, o runOptions, args []string) error {
	if o.detach && len(args) == 0 {
		return errors.New("--detach requires a command")
	}
	env, err := o.environment()
	if err != nil {
		return err
	}
	client, id, left, err := a.connect(ctx, o.name, o.timeout)
	if err != nil {
		return err
	}
	defer client.Close()
	if env[guest.EnvCwd] == "" {
		if dir := a.mappedDir(id); dir != "" {
			env[guest.EnvCwd] = dir
		}
	}
	s := session{
		machine: id, timeout: left, command: strings.Join(args, " "), env: env,
		agent: !o.noAgent && a.allowsAgent(id),
	}
	if line := newStatusLine(a.err); line != nil {
		env[guest.EnvProgress] = line.columns()
	}
	s.tty = o.tty || isTerminal(a.in) && isTerminal(a.out) && o.interactive
	if o.detach {
		s.tty, s.agent = false, false // both end with the session
		env[guest.EnvDetach] = "1"
	}
	if o.detach || !o.interactive {
		if a.in, err = os.Open(os.DevNull); err != nil {
			return err
		}
	}
	return a.attach(client, s)
}

// environment returns the variables for the guest: those asked for, and the reserved
// names that direct the session.
func (o runOptions) environment() (map[string]string, error) {
	env, err := o.variables()
	if err != nil {
		return nil, err
	}
	if err := o.identity(env); err != nil {
		return nil, err
	}
	if o.cwd != "" {
		env[guest.EnvCwd] = o.cwd
	}
	return env, nil
}

// identity adds who the command runs as.
func (o runOptions) identity(env map[string]string) error {
	user, uid, gid := o.user, o.uid.text, o.gid.text
	if name, group, ok := strings.Cut(user, ":"); ok {
		var id idFlag
		if err := id.Set(group); err != nil {
			return fmt.Errorf("--user %s: group: %w", o.user, err)
		}
		user, gid = name, id.text
	}
	if _, err := strconv.Atoi(user); err == nil {
		var id idFlag
		if err := id.Set(user); err != nil {
			return fmt.Errorf("--user %s: %w", o.user, err)
		}
		user, uid = "", id.text
	}
	if o.root {
		if user != "" || uid != "" && uid != "0" {
			return errors.New("--root conflicts with --user and --uid")
		}
		user = "root"
	}
	if user != "" {
		env[guest.EnvUser] = user
	}
	if uid != "" {
		env[guest.EnvUID] = uid
	}
	if gid != "" {
		env[guest.EnvGID] = gid
	}
	return nil
}

// mappedDir returns the host's working directory if the machine mounts it, else "".
func (a *app) mappedDir(id string) string {
	home, err := host.Home()
	if err != nil {
		return ""
	}
	cwd, err := os.Getwd()
	if err != nil {
		return ""
	}
	if cwd, err = filepath.EvalSymlinks(cwd); err != nil {
		return ""
	}
	if cwd != home && !strings.HasPrefix(cwd, home+"/") {
		return ""
	}
	// The machine runs, so this one file says what it runs with.
	booted, _, err := a.provider.Bundles.Bundle(id).Booted()
	if err != nil || booted == nil || booted.HomeMount == machine.HomeNone {
		return ""
	}
	return cwd
}

// idFlag is a user or group id that may be left out.
type idFlag struct{ text string }

func (f *idFlag) String() string { return f.text }
func (f *idFlag) Type() string   { return "id" }

func (f *idFlag) Set(text string) error {
	if text == "-1" { // as in chown(2): leave it as it is
		f.text = ""
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 32)
	if err != nil || n == math.MaxUint32 {
		return errors.New("must be a number from 0 to 4294967294")
	}
	f.text = strconv.FormatUint(n, 10)
	return nil
}
