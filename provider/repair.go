package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stead-vm/stead/provider/image"
)

// Repair writes the files of a broken machine anew from s and leaves it stopped. Its
// disk is kept, at its size where that is larger than s wants; only where there is none
// one is made. What could not be read is kept beside, under a name that ends in .broken.
// Another machine than expected is left alone, as by Replace.
func (p *Provider) Repair(ctx context.Context, s Spec, expect *Identity, progress image.Progress) error {
	unlock, err := p.existing(ctx, s.ID, "repairing", expect)
	if err != nil {
		return err
	}
	defer unlock()
	b := p.bundle(s.ID)
	var newer *NewerFormError
	if _, err := b.readRecord(); errors.As(err, &newer) {
		return err // it is not broken, only beyond this program
	}
	if err := p.Check(ctx, s); err != nil {
		return err
	}
	if err := p.stop(ctx, s.ID, StopOptions{}); err != nil {
		return err
	}
	release, err := p.images.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	info, err := os.Stat(b.path(diskFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		built, err := p.build(ctx, s, progress)
		if err != nil {
			return err
		}
		return p.swap(s.ID, built)
	case err != nil:
		return fmt.Errorf("disk: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("disk: %s is no regular file: put the disk back, or remove the machine", b.path(diskFile))
	}
	s.Disk = max(s.Disk, info.Size())
	img, err := p.fetch(ctx, s, progress)
	if err != nil {
		return err
	}
	r := newRecord(s, img, p.opts.Version)
	if old, err := b.readRecord(); err == nil {
		r.CreatedDate = old.CreatedDate // it is the same machine
	}
	if err := b.setBrokenAside(); err != nil {
		return err
	}
	if err := b.writeRecord(r); err != nil {
		return diskFull(err, b.dir)
	}
	return diskFull(b.writeSettings(s.Settings), b.dir)
}

// setBrokenAside renames the files that cannot be read.
func (b bundle) setBrokenAside() error {
	var errs []error
	if _, err := b.readRecord(); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, b.aside(configFile))
	}
	if _, err := b.settings(); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, b.aside(bootConfigFile))
	}
	return errors.Join(errs...)
}

func (b bundle) aside(name string) error {
	return os.Rename(b.path(name), b.path(fmt.Sprintf("%s.%s.broken", name, time.Now().UTC().Format("20060102T150405.000"))))
}
