package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider"
	"github.com/stead-vm/stead/reconcile"
)

// importOptions are the flags of import.
type importOptions struct {
	output string
	apple  bool
	from   string
	name   string
	force  bool
	ids    []string
}

func newImportCmd(a *app) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import [NAME...]",
		Short: "Write existing machines as a project file",
		Long: "Write existing machines as a project file: the named ones, or all that belong to no project.\n" +
			"A project with that file takes them over by \"stead adopt\", and has nothing to change then.\n\n" +
			"With --apple, machines of Apple's container become machines of stead first: with disks of their\n" +
			"own, which share space with the originals where the file system can. The originals, which must\n" +
			"be stopped, are only read.",
		Example: "stead import -o machines.hcl && stead adopt dev\n" +
			"stead import --apple ubuntu --name dev",
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ids = args
			if !o.apple {
				for _, flag := range []string{"from", "name", "force"} {
					if cmd.Flags().Changed(flag) {
						return fmt.Errorf("--%s goes with --apple", flag)
					}
				}
			}
			return a.importMachines(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "write to this new file instead of standard output")
	f.BoolVar(&o.apple, "apple", false, "import machines of Apple's container")
	f.StringVar(&o.from, "from", "", "folder of their bundles (default: where container keeps them)")
	f.StringVar(&o.name, "name", "", "what the machine is called here, when it is one")
	a.lockFlag(cmd)
	f.BoolVar(&o.force, "force", false, "also while its disk may be in use: it is then as after a power cut, and may be damaged")
	return cmd
}

func (a *app) importMachines(ctx context.Context, o importOptions) error {
	p, err := a.open()
	if err != nil {
		return err
	}
	if o.output != "" {
		if _, err := os.Lstat(o.output); err == nil {
			return &fileExistsError{o.output}
		}
	}
	asking, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	d, err := hostDefaults(asking, p, false)
	if err != nil {
		return err
	}
	var machines []provider.Machine
	if o.apple {
		// What its references mean is Apple's to know.
		d.Digest = func(_, _ string) (string, error) { return "", errors.ErrUnsupported }
		machines, err = a.importApple(ctx, p, o)
	} else {
		machines, err = a.known(ctx, p, o.ids)
	}
	if err != nil && len(machines) == 0 {
		return err
	}
	var declared []config.Declared
	for _, m := range machines {
		block := reconcile.Declare(m, d)
		block.Stopped = block.Stopped && !o.apple // it is wanted for something
		declared = append(declared, block)
	}
	return errors.Join(err, a.writeProject(o.output, declared))
}

// known are the named machines, or all that belong to no project.
func (a *app) known(ctx context.Context, p *provider.Provider, ids []string) ([]provider.Machine, error) {
	var machines []provider.Machine
	for _, id := range ids {
		m, err := p.Machine(ctx, id)
		if err != nil {
			return nil, err
		}
		if m.State == provider.Broken {
			return nil, &brokenError{m}
		}
		machines = append(machines, m)
	}
	if len(ids) > 0 {
		return machines, nil
	}
	all, err := p.Observe(ctx)
	for _, m := range all {
		switch {
		case m.Owner != (provider.Owner{}) && !m.OwnerGone:
		case m.State == provider.Broken:
			fmt.Fprintf(a.err, "%s %v\n", styles(a.err).change("Warning:"), &brokenError{m})
		default:
			machines = append(machines, m)
		}
	}
	return machines, err
}

// importApple makes machines of bundles of Apple's. All are looked at before the first is
// copied.
func (a *app) importApple(ctx context.Context, p *provider.Provider, o importOptions) ([]provider.Machine, error) {
	dir := o.from
	if dir == "" {
		var err error
		if dir, err = provider.AppleMachinesDir(); err != nil {
			return nil, err
		}
	}
	ids := o.ids
	if len(ids) == 0 {
		var err error
		if ids, err = provider.AppleMachines(dir); err != nil {
			return nil, err
		}
	}
	if o.name != "" && len(ids) != 1 {
		return nil, fmt.Errorf("--name is for one machine, and these are %d", len(ids))
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, p.CheckImport(ctx, provider.AppleImport{Dir: dir, ID: id, Name: o.name, Force: o.force}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var machines []provider.Machine
	for _, id := range ids {
		if isTerminal(a.err) {
			fmt.Fprintf(a.err, "Copying the disk of %s ...\n", id)
		}
		if err := p.Import(ctx, provider.AppleImport{Dir: dir, ID: id, Name: o.name, Force: o.force}); err != nil {
			return machines, err // with those that are there by now
		}
		m, err := p.Machine(ctx, cmp.Or(o.name, id))
		if err != nil {
			return machines, err
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// writeProject writes machines to a file that must be new, or to standard output.
func (a *app) writeProject(file string, machines []config.Declared) error {
	if file == "" {
		return config.Write(a.out, machines)
	}
	var text bytes.Buffer
	if err := config.Write(&text, machines); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &fileExistsError{file}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// digestTimeout bounds the questions to registries of an import, which can do without.
const digestTimeout = 10 * time.Second

type fileExistsError struct{ file string }

func (e *fileExistsError) Error() string { return e.file + " is there already" }

func (e *fileExistsError) Remedy() string {
	return "name a new file, or leave -o out and add the blocks to that one"
}

type brokenError struct{ provider.Machine }

func (e *brokenError) Error() string {
	return fmt.Sprintf("machine %q is broken: %s", e.ID, e.Problem)
}

func (e *brokenError) Remedy() string {
	return "declare it with its image: applying that repairs it and keeps its disk"
}
