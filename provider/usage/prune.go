package usage

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/space"
)

// UnknownImageError reports a machine whose image is unknown.
type UnknownImageError struct{ ID string }

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("cannot read machine %q, so its image is unknown: no image was removed", e.ID)
}

// Remedy says how to repair the machine.
func (e *UnknownImageError) Remedy() string {
	return fmt.Sprintf(`repair it with "stead apply", or remove it with "stead rm %s"`, e.ID)
}

// UnusedImages lists the images that no machine was created from.
func (m *Meter) UnusedImages(ctx context.Context) ([]image.Entry, error) {
	entries, err := m.Images.List(ctx)
	if err != nil {
		return nil, err
	}
	return m.unused(entries)
}

func (m *Meter) unused(entries []image.Entry) ([]image.Entry, error) {
	made, err := m.Bundles.MadeFrom()
	if err != nil {
		return nil, err
	}
	if unknown := made[""]; len(unknown) > 0 {
		return nil, &UnknownImageError{ID: unknown[0]}
	}
	return slices.DeleteFunc(entries, func(e image.Entry) bool { return len(made[e.Digest]) > 0 }), nil
}

// PruneOptions say what [Meter.Prune] frees besides unneeded files.
type PruneOptions struct {
	Images []image.Entry // remove these too, unless a machine was created from one since
	Disks  bool          // remove all cached disks
	DryRun bool          // only report what would be removed
}

// Prune removes unneeded files: those in the image store, and directories of machines that
// killed commands left half-made or half-removed. It never touches a machine's disk.
func (m *Meter) Prune(ctx context.Context, o PruneOptions) (image.PruneResult, error) {
	approved := map[string]bool{}
	for _, e := range o.Images {
		approved[e.Reference+" "+e.Digest] = true
	}
	so := image.PruneOptions{Disks: o.Disks, DryRun: o.DryRun}
	if len(approved) > 0 {
		so.Unwanted = func(entries []image.Entry) ([]image.Entry, error) {
			return m.unused(slices.DeleteFunc(entries, func(e image.Entry) bool { return !approved[e.Reference+" "+e.Digest] }))
		}
	}
	pruned, err := m.Images.Prune(ctx, so)
	if err != nil {
		return pruned, err
	}
	return pruned, m.Bundles.EachLeftover(func(dir string) error {
		taken, files, err := space.In(dir)
		pruned.Freed += taken.Real
		pruned.Files += files
		if err != nil || o.DryRun {
			return err
		}
		return os.RemoveAll(dir)
	})
}
