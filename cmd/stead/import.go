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

	"github.com/stead-vm/stead/cmd/stead/project"
	"github.com/stead-vm/stead/provider/apple"
	"github.com/stead-vm/stead/provider/local"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
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
		Short: "Write a project file for existing machines",
		Long: "Write a project file that declares existing machines: the named ones, or all that belong to no\n" +
			"project. After \"stead adopt\", a project with that file has nothing to change.\n\n" +
			"--apple first imports machines of Apple's container: each gets a copy of the disk, which shares\n" +
			"space with the original where the file system supports clones. The originals must be stopped\n" +
			"and are only read.",
		Example: "stead import -o machines.hcl && stead adopt dev\n" +
			"stead import --apple ubuntu --name dev",
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ids = args
			if !o.apple {
				for _, flag := range []string{"from", "name", "force"} {
					if cmd.Flags().Changed(flag) {
						return fmt.Errorf("--%s requires --apple", flag)
					}
				}
			}
			return a.importMachines(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "write to this file, which must not exist, instead of standard output")
	f.BoolVar(&o.apple, "apple", false, "import machines of Apple's container")
	f.StringVar(&o.from, "from", "", "directory of Apple's bundles (default: the one that container uses)")
	f.StringVar(&o.name, "name", "", "name for the imported machine, when there is only one")
	a.lockFlag(cmd)
	f.BoolVar(&o.force, "force", false, "import a disk even if it may be in use; the copy is then as after a power cut")
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
	d, err := project.LocalHost(p).Defaults(asking, machine.Owner{}, false)
	if err != nil {
		return err
	}
	var machines []machine.Machine
	if o.apple {
		// Only Apple's container knows what its references refer to.
		d.Digest = func(string, platform.Platform) (string, error) { return "", errors.ErrUnsupported }
		machines, err = a.importApple(ctx, p, o)
	} else {
		machines, err = a.known(ctx, p, o.ids)
	}
	if err != nil && len(machines) == 0 {
		return err
	}
	var declared []config.Declaration
	for _, m := range machines {
		block := reconcile.Declare(m, d)
		block.Stopped = block.Stopped && !o.apple // an imported machine should run
		declared = append(declared, block)
	}
	return errors.Join(err, a.writeProject(o.output, declared))
}

// known returns the named machines, or all that belong to no project.
func (a *app) known(ctx context.Context, p *local.Provider, ids []string) ([]machine.Machine, error) {
	var machines []machine.Machine
	for _, id := range ids {
		m, err := p.Machines.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if m.State == machine.Broken {
			return nil, &brokenError{m}
		}
		machines = append(machines, m)
	}
	if len(ids) > 0 {
		return machines, nil
	}
	all, err := p.Machines.List(ctx)
	for _, m := range all {
		switch {
		case m.Owner != (machine.Owner{}) && !m.OwnerGone:
		case m.State == machine.Broken:
			fmt.Fprintf(a.err, "%s %v\n", styles(a.err).change("Warning:"), &brokenError{m})
		default:
			machines = append(machines, m)
		}
	}
	return machines, err
}

// importApple imports bundles of Apple's. It checks all before it copies the first.
func (a *app) importApple(ctx context.Context, p *local.Provider, o importOptions) ([]machine.Machine, error) {
	dir := o.from
	if dir == "" {
		var err error
		if dir, err = apple.MachinesDir(); err != nil {
			return nil, err
		}
	}
	ids := o.ids
	if len(ids) == 0 {
		var err error
		if ids, err = apple.Machines(dir); err != nil {
			return nil, err
		}
	}
	if o.name != "" && len(ids) != 1 {
		return nil, fmt.Errorf("--name requires exactly one machine, not %d", len(ids))
	}
	importer := apple.Importer{Bundles: p.Bundles, Version: version(), Platform: p.Loader.CheckPlatform}
	var errs []error
	for _, id := range ids {
		errs = append(errs, importer.Check(ctx, apple.Import{Dir: dir, ID: id, Name: o.name, Force: o.force}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var machines []machine.Machine
	for _, id := range ids {
		if isTerminal(a.err) {
			fmt.Fprintf(a.err, "Copying the disk of %s ...\n", id)
		}
		if err := importer.Import(ctx, apple.Import{Dir: dir, ID: id, Name: o.name, Force: o.force}); err != nil {
			return machines, err // with those that were imported
		}
		m, err := p.Machines.Get(ctx, cmp.Or(o.name, id))
		if err != nil {
			return machines, err
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// writeProject writes machines to a file that must be new, or to standard output.
func (a *app) writeProject(file string, machines []config.Declaration) error {
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

// digestTimeout bounds the requests to registries, whose answers an import can do without.
const digestTimeout = 10 * time.Second

type fileExistsError struct{ file string }

func (e *fileExistsError) Error() string { return e.file + " already exists" }

func (e *fileExistsError) Remedy() string {
	return "choose another file, or leave out -o and add the blocks to the existing file"
}

type brokenError struct{ machine.Machine }

func (e *brokenError) Error() string {
	return fmt.Sprintf("machine %q is broken: %s", e.ID, e.Problem)
}

func (e *brokenError) Remedy() string {
	return "declare it with its image and run \"stead apply\": that repairs the machine and keeps its disk"
}
