package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
)

// Create makes the bundle of s, not running. It exists whole or not at all. A machine
// that the same project has created from the same image meanwhile, as when two people
// apply at once, is accepted.
func (p *Provider) Create(ctx context.Context, s machine.Spec, progress transfer.Progress) error {
	unlock, err := p.Bundles.Locks().Machine(ctx, s.ID, "creating")
	if err != nil {
		return err
	}
	defer unlock()
	if b := p.Bundles.Bundle(s.ID); b.Exists() {
		r, err := b.Record()
		if err == nil && s.Owner.Project != "" && r.Owner() == s.Owner && r.Configuration.Image.Digest == s.Digest {
			return nil
		}
		return &machine.ExistsError{ID: s.ID}
	}
	fill, release, err := p.prepare(ctx, s, progress)
	if err != nil {
		return err
	}
	defer release()
	return p.Bundles.Create(s.ID, fill)
}

// Replace stops the machine, swaps its bundle for a new one of s and removes the old
// disk. Until the new bundle is whole the old one is untouched. A machine that is not
// what the caller expects is a [*machine.ChangedError]; nil expects whatever there is.
func (p *Provider) Replace(ctx context.Context, s machine.Spec, expect *machine.Identity, progress transfer.Progress) error {
	unlock, err := p.Bundles.Locks().Machine(ctx, s.ID, "replacing")
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.Bundles.Expect(s.ID, expect); err != nil {
		return err
	}
	fill, release, err := p.prepare(ctx, s, progress)
	if err != nil {
		return err
	}
	defer release()
	return p.Bundles.Replace(s.ID, fill, func() error { return p.stop(ctx, s.ID, StopOptions{}) })
}

// Repair writes the files of a broken machine again from s and leaves it stopped. Its
// disk is kept, at its size where that is larger than s wants; a disk is made only where
// there is none. Files that cannot be read are kept beside, under names that end in
// .broken. Another machine than expected is left alone, as by Replace.
func (p *Provider) Repair(ctx context.Context, s machine.Spec, expect *machine.Identity, progress transfer.Progress) error {
	unlock, err := p.Bundles.Locks().Existing(ctx, s.ID, "repairing", expect)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.Bundles.Bundle(s.ID)
	var newer *bundle.NewerFormError
	if _, err := b.Record(); errors.As(err, &newer) {
		return err // it is not broken, only beyond this program
	}
	if err := p.Check(ctx, s); err != nil {
		return err
	}
	if err := p.stop(ctx, s.ID, StopOptions{}); err != nil {
		return err
	}
	info, err := os.Stat(b.Path(bundle.DiskFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		fill, release, err := p.prepare(ctx, s, progress)
		if err != nil {
			return err
		}
		defer release()
		return p.Bundles.Replace(s.ID, fill, func() error { return nil })
	case err != nil:
		return fmt.Errorf("disk: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("disk: %s is not a regular file: put the disk back, or remove the machine", b.Path(bundle.DiskFile))
	}
	s.Disk = max(s.Disk, info.Size())
	return p.rewrite(ctx, b, s, progress)
}

// rewrite replaces the files of b that cannot be read, and keeps its disk.
func (p *Provider) rewrite(ctx context.Context, b bundle.Bundle, s machine.Spec, progress transfer.Progress) error {
	release, err := p.Images.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	img, err := p.fetch(ctx, s, progress)
	if err != nil {
		return err
	}
	r := p.record(s, img)
	if old, err := b.Record(); err == nil {
		r.CreatedDate = old.CreatedDate // it is the same machine
	}
	if err := b.SetBrokenAside(); err != nil {
		return err
	}
	return space.Explain(writeFiles(b, r, s.Settings), b.Dir)
}

func writeFiles(b bundle.Bundle, r bundle.Record, s machine.Settings) error {
	if err := b.WriteRecord(r); err != nil {
		return err
	}
	return b.WriteSettings(s)
}

// prepare checks s, fetches its kernel and image, and returns what fills its bundle. The
// store of images is held until release, so that the image stays until the machine shows
// that it is used.
func (p *Provider) prepare(ctx context.Context, s machine.Spec, progress transfer.Progress) (fill func(bundle.Bundle) error, release func(), err error) {
	if err := p.Check(ctx, s); err != nil {
		return nil, nil, err
	}
	if err := p.Loader.FetchKernel(ctx, s, progress); err != nil {
		return nil, nil, err
	}
	if release, err = p.Images.Hold(ctx); err != nil {
		return nil, nil, err
	}
	img, err := p.fetch(ctx, s, progress)
	if err != nil {
		release()
		return nil, nil, err
	}
	return func(b bundle.Bundle) error {
		cached, err := p.Images.Disk(ctx, img, s.Disk, progress)
		if err != nil {
			return err
		}
		if err := bundle.CloneFile(ctx, b.Path(bundle.DiskFile), cached); err != nil {
			return err
		}
		return writeFiles(b, p.record(s, img), s.Settings)
	}, release, nil
}

// record describes the machine of s, made from img.
func (p *Provider) record(s machine.Spec, img image.Image) bundle.Record {
	s.Digest, s.Platform = img.Digest, img.Platform
	return bundle.NewRecord(s, img.Config.Env, img.Config.StopSignal, p.opts.Version)
}

// fetch brings the image of s into the store: the one that was planned, where a plan
// named it, else what the reference means now. One with sources is built if need be.
func (p *Provider) fetch(ctx context.Context, s machine.Spec, progress transfer.Progress) (image.Image, error) {
	switch {
	case s.Build != nil:
		return p.buildImage(ctx, s, progress)
	case s.Digest == "":
		return p.Images.Pull(ctx, s.Image, s.Platform, progress)
	}
	return p.Images.Fetch(ctx, image.Image{Reference: s.Image, Digest: s.Digest, Platform: s.Platform}, progress)
}

// Delete stops a machine and removes it with its disk. A missing one is not an error,
// another one than expected is, as for Replace.
func (p *Provider) Delete(ctx context.Context, id string, expect *machine.Identity) error {
	unlock, err := p.Bundles.Locks().Machine(ctx, id, "deleting")
	if err != nil {
		return err
	}
	defer unlock()
	if !p.Bundles.Bundle(id).Exists() {
		return nil
	}
	if err := p.Bundles.Expect(id, expect); err != nil {
		return err
	}
	if err := p.stop(ctx, id, StopOptions{}); err != nil {
		return err
	}
	return errors.Join(p.Bundles.Delete(id), os.RemoveAll(host.RunDir(p.Bundles.Home(), id)))
}

// Configure writes the settings that a machine boots with from the next start on, and its
// owner. It does not change a running machine, except for Services (see ApplyServices),
// and leaves another machine than expected alone, as Replace does.
func (p *Provider) Configure(ctx context.Context, s machine.Spec, expect *machine.Identity) error {
	unlock, err := p.Bundles.Locks().Existing(ctx, s.ID, "configuring", expect)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.Bundles.Bundle(s.ID)
	r, err := b.Record()
	if err != nil {
		return err
	}
	if info, err := os.Stat(b.Path(bundle.DiskFile)); err != nil {
		return fmt.Errorf("disk: %w", err)
	} else if s.Disk < info.Size() {
		return fmt.Errorf("cannot shrink the disk from %s to %s", size.Setting(info.Size()), size.Setting(s.Disk))
	}
	if err := p.Check(ctx, s); err != nil {
		return err
	}
	r.Configuration.Image.Reference = s.Image
	r.Stead.Project, r.Stead.File, r.Stead.PreventDestroy = s.Owner.Project, s.Owner.File, s.PreventDestroy
	return space.Explain(writeFiles(b, r, s.Settings), b.Dir)
}
