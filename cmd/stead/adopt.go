package main

import (
	"errors"
	"fmt"

	"github.com/stead-vm/stead/provider/machine"

	"github.com/spf13/cobra"
)

func newAdoptCmd(a *app) *cobra.Command {
	var o projectFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "adopt NAME...",
		Short: "Make existing machines part of the project",
		Long: "Make existing machines part of the project, which must declare them: machines that you\n" +
			"created with \"stead machine create\", and machines of a project whose file is gone. Nothing\n" +
			"else about them changes; \"stead plan\" then shows how they differ from machines.hcl.",
		Example:           "stead adopt dev",
		Args:              takesArgs(1, -1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			pr, unlock, err := a.loadLocked(cmd.Context(), o)
			if err != nil {
				return err
			}
			defer unlock()
			var was []machine.Owner
			for _, id := range args { // check all before adopting the first
				m := pr.Find(id)
				if m == nil {
					return &machine.NotFoundError{ID: id}
				}
				if !pr.Declares(id) {
					return &undeclaredError{ID: id, File: pr.File}
				}
				was = append(was, m.Owner)
			}
			p, err := a.open()
			if err != nil {
				return err
			}
			var errs []error
			for i, id := range args {
				if err := p.Adopt(cmd.Context(), id, pr.Owner(), force); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(a.out, "%s: adopted by project %s (%s)\n", id, pr.Name, formerly(was[i], pr.Owner()))
			}
			return errors.Join(errs...)
		},
	}
	o.add(cmd)
	a.lockFlag(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "take the machine from another project, which then loses it")
	return cmd
}

// formerly says whose a machine was.
func formerly(was, now machine.Owner) string {
	switch was {
	case now:
		return "already its own"
	case machine.Owner{}:
		return "previously without a project"
	}
	return fmt.Sprintf("previously of project %s, %s", was.Project, was.File)
}

// undeclaredError refuses to adopt what the next apply would delete.
type undeclaredError struct{ ID, File string }

func (e *undeclaredError) Error() string {
	return fmt.Sprintf("%s does not declare machine %q, so the next apply would delete it", e.File, e.ID)
}

func (e *undeclaredError) Remedy() string {
	return fmt.Sprintf("declare it first: \"stead import %s\" prints the block", e.ID)
}
