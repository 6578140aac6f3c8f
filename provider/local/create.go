package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/size"
	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
)

// Create creates the machine s, stopped. If it fails, nothing is left. An existing machine of
// the same project and image is accepted, as when two applies run at once.
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

// Replace builds a new bundle for s, stops the machine, swaps the bundles, and removes the old
// disk. It does not change the old bundle before the new one is complete. If the machine is not
// the expected one, it returns a [*machine.ChangedError]; nil expects any machine.
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

// Repair writes the files of a broken machine again from s and leaves it stopped. It keeps the
// disk, at its current size if that is larger than in s, and creates one only if there is none.
// Unreadable files are renamed to names that end in .broken. expect is as for Replace.
func (p *Provider) Repair(ctx context.Context, s machine.Spec, expect *machine.Identity, progress transfer.Progress) error {
	unlock, err := p.Bundles.Locks().Existing(ctx, s.ID, "repairing", expect)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.Bundles.Bundle(s.ID)
	var newer *bundle.NewerFormError
	if _, err := b.Record(); errors.As(err, &newer) {
		return err // not broken, but of a newer program
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

// rewrite replaces the unreadable files of b and keeps its disk.
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
		r.CreatedDate = old.CreatedDate // it remains the same machine
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

// prepare checks s, fetches its kernel and image, and returns a function that fills its bundle.
// It keeps the image store from removing images until release, when the new machine's record
// shows that the image is in use.
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

// record returns the record of a machine of s, created from img.
func (p *Provider) record(s machine.Spec, img image.Image) bundle.Record {
	s.Digest, s.Platform = img.Digest, img.Platform
	return bundle.NewRecord(s, img.Config.Env, img.Config.StopSignal, p.opts.Version)
}

// fetch returns the image of s, and pulls or builds it if it is not in the store. It is the
// planned image if s has a digest, else the one that the reference means now.
func (p *Provider) fetch(ctx context.Context, s machine.Spec, progress transfer.Progress) (image.Image, error) {
	switch {
	case s.Build != nil:
		return p.buildImage(ctx, s, progress)
	case s.Digest == "":
		return p.Images.Pull(ctx, s.Image, s.Platform, progress)
	}
	return p.Images.Fetch(ctx, image.Image{Reference: s.Image, Digest: s.Digest, Platform: s.Platform}, progress)
}

// Delete stops a machine and removes it with its disk. It does nothing if there is no such
// machine. expect is as for Replace.
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
	if err := runDir(p.Bundles, id).Remove(); err != nil { // while its record exists
		return err
	}
	return p.Bundles.Delete(id)
}

// Configure writes a machine's owner, and the settings and the user's name for its next start. It does not affect a
// running machine; see ApplyServices for its services. expect is as for Replace.
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
	r.Configuration.UserSetup.Username = s.User.Name
	r.Stead.Project, r.Stead.File, r.Stead.PreventDestroy = s.Owner.Project, s.Owner.File, s.PreventDestroy
	return space.Explain(writeFiles(b, r, s.Settings), b.Dir)
}
