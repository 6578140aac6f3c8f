package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/provider/guest"
)

// runOptions are the flags of run.
type runOptions struct {
	name, user, cwd, envFile string
	root, detach, tty        bool
	interactive              bool
	uid, gid                 int
	env                      []string
}

func newRunCmd(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [-n NAME] [CMD...]",
		Short: "Run a command in a machine, or a shell without one",
		Long: "Run a command in a machine, booting it if it is stopped. CMD's words are joined by spaces and\n" +
			"run by your shell there; the exit code is the command's. Without CMD a login shell runs.\n" +
			"The working directory is the host's where the machine mounts it. A terminal is given when\n" +
			"standard input and output are one; standard input is passed on to its end.",
		Example: "stead run uname -a\nstead run 'echo $HOME'\ntar c src | stead run -n test tar t",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runInside(cmd.Context(), o, args)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&o.name, "name", "n", "", "the machine; default: the default machine")
	f.BoolVarP(&o.detach, "detach", "d", false, "start CMD and leave it running")
	f.BoolVar(&o.root, "root", false, "run as root")
	f.StringVarP(&o.user, "user", "u", "", "run as this user (name or uid[:gid])")
	f.IntVar(&o.uid, "uid", -1, "run as this uid")
	f.IntVar(&o.gid, "gid", -1, "run with this primary gid")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set KEY=VALUE, or pass KEY on")
	f.StringVar(&o.envFile, "env-file", "", "set the KEY=VALUE lines of this file")
	f.StringVarP(&o.cwd, "cwd", "w", "", "working directory in the machine")
	f.BoolVarP(&o.interactive, "interactive", "i", true, "pass standard input on")
	f.BoolVarP(&o.tty, "tty", "t", false, "give CMD a terminal even when output goes elsewhere")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "workdir" {
			name = "cwd"
		}
		return pflag.NormalizedName(name)
	})
	_ = cmd.RegisterFlagCompletionFunc("name", a.nameArg)
	return cmd
}

func newShellCmd(a *app) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "shell [-n NAME]",
		Short: "Be in a machine: a login shell",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.interactive, o.uid, o.gid = true, -1, -1
			return a.runInside(cmd.Context(), o, nil)
		},
	}
	cmd.Flags().StringVarP(&o.name, "name", "n", "", "the machine; default: the default machine")
	cmd.Flags().BoolVar(&o.root, "root", false, "be root")
	_ = cmd.RegisterFlagCompletionFunc("name", a.nameArg)
	return cmd
}

func (a *app) runInside(ctx context.Context, o runOptions, args []string) error {
	if o.detach && len(args) == 0 {
		return errors.New("--detach needs a command to leave running")
	}
	env, err := o.environment()
	if err != nil {
		return err
	}
	client, id, err := a.connect(ctx, o.name)
	if err != nil {
		return err
	}
	defer client.Close()
	if env[guest.EnvCwd] == "" {
		if dir := a.mappedDir(ctx, id); dir != "" {
			env[guest.EnvCwd] = dir
		}
	}
	s := session{command: strings.Join(args, " "), env: env}
	s.tty = o.tty || isTerminal(a.in) && isTerminal(a.out) && o.interactive
	if o.detach {
		s.tty = false
		s.command = "(\n" + s.command + "\n) </dev/null >/dev/null 2>&1 &"
	}
	if o.detach || !o.interactive {
		if a.in, err = os.Open(os.DevNull); err != nil {
			return err
		}
	}
	return a.attach(client, s)
}

// environment is what the guest is told: the variables asked for and the reserved names
// that direct the session.
func (o runOptions) environment() (map[string]string, error) {
	env := map[string]string{}
	lines := o.env
	if o.envFile != "" {
		fromFile, err := readEnvFile(o.envFile)
		if err != nil {
			return nil, err
		}
		lines = append(fromFile, lines...)
	}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, "=")
		if name == "" || strings.HasPrefix(name, "STEAD_") {
			return nil, fmt.Errorf("--env %s: write KEY=VALUE, and keep off names that begin with STEAD_", line)
		}
		if !ok {
			value, ok = os.LookupEnv(name)
			if !ok {
				continue
			}
		}
		env[name] = value
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
	user, uid, gid := o.user, o.uid, o.gid
	if name, group, ok := strings.Cut(user, ":"); ok {
		n, err := strconv.Atoi(group)
		if err != nil {
			return fmt.Errorf("--user %s: the group must be a number", o.user)
		}
		user, gid = name, n
	}
	if n, err := strconv.Atoi(user); err == nil {
		user, uid = "", n
	}
	if o.root {
		if user != "" || uid > 0 {
			return errors.New("--root and another user cannot both be meant")
		}
		user = "root"
	}
	if user != "" {
		env[guest.EnvUser] = user
	}
	if uid >= 0 {
		env[guest.EnvUID] = strconv.Itoa(uid)
	}
	if gid >= 0 {
		env[guest.EnvGID] = strconv.Itoa(gid)
	}
	return nil
}

func readEnvFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines, s.Err()
}

// mappedDir is the host's working directory if the machine mounts it, else "".
func (a *app) mappedDir(ctx context.Context, id string) string {
	home, err := provider.HostHome()
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
	m, err := a.provider.Machine(ctx, id)
	if err != nil || m.Booted == nil || m.Booted.HomeMount == provider.HomeNone {
		return ""
	}
	return cwd
}
