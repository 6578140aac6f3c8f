package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/stead-vm/stead/config"
	"github.com/stead-vm/stead/provider"
)

// lockFlag is for the commands that change machines, one at a time. They wait for each
// other unless told not to: what a second command meant to do is right after the first
// one, too, and a person sees for whom it waits.
func (a *app) lockFlag(cmd *cobra.Command) {
	cmd.Flags().Func("lock-timeout",
		"how long to wait for another command that changes the same, such as 5m; 0s: not at all (default: as long as it takes)",
		func(text string) error {
			d, err := time.ParseDuration(text)
			switch {
			case err != nil:
				return err
			case d < 0:
				return errors.New("it is less than nothing")
			case d == 0:
				d = provider.NoWait
			}
			a.lockTimeout = d
			return nil
		})
}

// loadAlone is load for a command that plans and changes: no other one does until unlock,
// so that what is carried out is what was shown.
func (a *app) loadAlone(ctx context.Context, o projectOptions) (pr *project, unlock func(), err error) {
	file, err := o.find()
	if err != nil {
		return nil, nil, err
	}
	if file, err = config.Path(file); err != nil {
		return nil, nil, err
	}
	p, err := a.open()
	if err != nil {
		return nil, nil, err
	}
	if unlock, err = p.LockProject(ctx, file); err != nil {
		return nil, nil, err
	}
	// Only now is the file read: it may change while another command is waited for.
	if pr, err = a.load(ctx, o); err != nil {
		unlock()
		return nil, nil, err
	}
	return pr, unlock, nil
}
