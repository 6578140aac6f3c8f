package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider"
)

func newAdoptCmd(a *app) *cobra.Command {
	var o projectOptions
	var force bool
	cmd := &cobra.Command{
		Use:   "adopt NAME...",
		Short: "Make existing machines the project's",
		Long: "Make existing machines belong to this project, whose file must declare them: machines that\n" +
			"were made by hand, and those of a project whose file is gone. Nothing else about them\n" +
			"changes; \"stead plan\" then shows how they differ from the file.",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.nameArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			pr, unlock, err := a.loadAlone(cmd.Context(), o)
			if err != nil {
				return err
			}
			defer unlock()
			var was []provider.Owner
			for _, id := range args { // all are looked at before the first is adopted
				i := slices.IndexFunc(pr.found, func(m provider.Machine) bool { return m.ID == id })
				if i < 0 {
					return &provider.NotFoundError{ID: id}
				}
				if !pr.knows(id) {
					return &undeclaredError{ID: id, File: pr.File}
				}
				was = append(was, pr.found[i].Owner)
			}
			var errs []error
			for i, id := range args {
				if err := pr.provider.Adopt(cmd.Context(), id, pr.owner(), force); err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(a.out, "%s belongs to project %s; it %s\n", id, pr.Name, formerly(was[i], pr.owner()))
			}
			return errors.Join(errs...)
		},
	}
	o.flags(cmd)
	a.lockFlag(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also from another project, which can then not use it any more")
	return cmd
}

// knows tells whether the file speaks about a machine, by its name or its former one.
func (pr *project) knows(id string) bool {
	return slices.ContainsFunc(pr.Machines, func(m config.Machine) bool { return m.Name == id }) ||
		slices.ContainsFunc(pr.Moved, func(m config.Moved) bool { return m.From == id })
}

// formerly says whose a machine was.
func formerly(was, now provider.Owner) string {
	switch was {
	case now:
		return "did before"
	case provider.Owner{}:
		return "belonged to no project"
	}
	return fmt.Sprintf("belonged to project %s (%s)", was.Project, was.File)
}

// undeclaredError refuses to adopt what the next apply would delete.
type undeclaredError struct{ ID, File string }

func (e *undeclaredError) Error() string {
	return fmt.Sprintf("%s does not declare machine %q: if it belonged to the project, the next apply would delete it", e.File, e.ID)
}

func (e *undeclaredError) Remedy() string {
	return fmt.Sprintf("declare it first: `stead import %s` writes the block", e.ID)
}
