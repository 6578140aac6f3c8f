package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/image"
)

// ExistsError reports that a machine of that name is there already.
type ExistsError struct{ ID string }

func (e *ExistsError) Error() string { return fmt.Sprintf("machine %q exists already", e.ID) }

// Remedy says what to do about it.
func (e *ExistsError) Remedy() string {
	return fmt.Sprintf(`choose another name, or remove it and its disk with "stead rm %s"`, e.ID)
}

// Create makes the bundle of s, not running. It exists whole or not at all: it is
// built under a temporary name and renamed in. One that the same project has made of
// the same image meanwhile, as when two people apply at once, is taken for it.
func (p *Provider) Create(ctx context.Context, s Spec, progress image.Progress) error {
	unlock, err := p.write(ctx, s.ID, "creating")
	if err != nil {
		return err
	}
	defer unlock()
	if b := p.bundle(s.ID); b.exists() {
		r, err := b.readRecord()
		if err == nil && s.Owner.Project != "" && r.owner() == s.Owner && r.Configuration.Image.Digest == s.Digest {
			return nil
		}
		return &ExistsError{ID: s.ID}
	}
	release, err := p.images.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	built, err := p.build(ctx, s, progress)
	if err != nil {
		return err
	}
	if err := os.Rename(built.dir, p.bundle(s.ID).dir); err != nil {
		return errors.Join(err, os.RemoveAll(built.dir))
	}
	if err := durable.SyncDir(p.machinesDir()); err != nil {
		return err
	}
	return p.defaultIfFirst(s.ID)
}

// Replace stops the machine, swaps its bundle for a new one of s and removes the old
// disk. Until the new bundle is whole the old one is untouched. A machine that is not
// what the caller expects is a [*ChangedError]; nil expects whatever there is.
func (p *Provider) Replace(ctx context.Context, s Spec, expect *Identity, progress image.Progress) error {
	unlock, err := p.write(ctx, s.ID, "replacing")
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.expect(s.ID, expect); err != nil {
		return err
	}
	release, err := p.images.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	built, err := p.build(ctx, s, progress)
	if err != nil {
		return err
	}
	if err := p.stop(ctx, s.ID, StopOptions{}); err != nil {
		return errors.Join(err, os.RemoveAll(built.dir))
	}
	return p.swap(s.ID, built)
}

// swap puts a built bundle in the place of the machine's old one, which is removed.
func (p *Provider) swap(id string, built bundle) error {
	trash, err := p.discard(id)
	if err != nil {
		return errors.Join(err, os.RemoveAll(built.dir))
	}
	if err := os.Rename(built.dir, p.bundle(id).dir); err != nil {
		return errors.Join(err, os.Rename(trash, p.bundle(id).dir), os.RemoveAll(built.dir))
	}
	return errors.Join(durable.SyncDir(p.machinesDir()), os.RemoveAll(trash))
}

// build makes the bundle of s under a temporary name. On failure nothing is left. The
// caller holds the store, so that the image stays until the machine shows that it is used.
func (p *Provider) build(ctx context.Context, s Spec, progress image.Progress) (_ bundle, err error) {
	if err := p.Check(ctx, s); err != nil {
		return bundle{}, err
	}
	if err := p.fetchKernel(ctx, s, progress); err != nil {
		return bundle{}, err
	}
	img, err := p.fetch(ctx, s, progress)
	if err != nil {
		return bundle{}, err
	}
	dir, err := os.MkdirTemp(p.machinesDir(), ".new-"+s.ID+".*")
	if err != nil {
		return bundle{}, err
	}
	b := bundle{dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	cached, err := p.images.Disk(ctx, img, s.Disk, progress)
	if err != nil {
		return bundle{}, err
	}
	if err := cloneFile(ctx, b.path(diskFile), cached); err != nil {
		return bundle{}, diskFull(err, p.opts.Home)
	}
	if err := b.writeRecord(newRecord(s, img, p.opts.Version)); err != nil {
		return bundle{}, diskFull(err, p.opts.Home)
	}
	return b, diskFull(b.writeSettings(s.Settings), p.opts.Home)
}

// fetch brings the image of s into the store: the one that was planned, where a plan
// said which, else what the reference means now. One with sources is built if need be.
func (p *Provider) fetch(ctx context.Context, s Spec, progress image.Progress) (image.Image, error) {
	platform, err := image.ParsePlatform(s.Platform)
	if err != nil {
		return image.Image{}, err
	}
	if s.Build != nil {
		return p.buildImage(ctx, s, progress)
	}
	if s.Digest == "" {
		return p.images.Pull(ctx, s.Image, platform, progress)
	}
	return p.images.Fetch(ctx, image.Image{Reference: s.Image, Digest: s.Digest, Platform: platform}, progress)
}

// discard renames the bundle out of sight, so that it is gone at once and for good
// even if removing its files is cut short.
func (p *Provider) discard(id string) (trash string, err error) {
	trash = filepath.Join(p.machinesDir(), fmt.Sprintf(".old-%s.%d", id, time.Now().UnixNano()))
	if err := os.Rename(p.bundle(id).dir, trash); err != nil {
		return "", err
	}
	return trash, durable.SyncDir(p.machinesDir())
}

// Delete stops a machine and removes it with its disk. An absent one is no error, another
// one than expected is, as for Replace.
func (p *Provider) Delete(ctx context.Context, id string, expect *Identity) error {
	unlock, err := p.write(ctx, id, "deleting")
	if err != nil {
		return err
	}
	defer unlock()
	if !p.bundle(id).exists() {
		return nil
	}
	if err := p.expect(id, expect); err != nil {
		return err
	}
	if err := p.stop(ctx, id, StopOptions{}); err != nil {
		return err
	}
	trash, err := p.discard(id)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(trash), os.RemoveAll(p.runDir(id)))
}

// write makes the caller, who is doing something to it, the machine's one writer, and
// removes what killed commands left behind.
func (p *Provider) write(ctx context.Context, id, doing string) (unlock func(), err error) {
	if !ValidID(id) {
		return nil, &InvalidIDError{ID: id}
	}
	if unlock, err = p.lock(ctx, p.machineLock(id), doing+" "+id); err != nil {
		return nil, err
	}
	if err := p.sweep(id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// sweep removes what killed commands left behind of the machine, whose lock is held, and
// of machines that nobody works on.
func (p *Provider) sweep(locked string) error {
	return p.eachLeftover(locked, os.RemoveAll)
}

// eachLeftover calls f for every folder that a killed command left behind and nobody
// else works on, while nobody can.
func (p *Provider) eachLeftover(locked string, f func(dir string) error) error {
	entries, err := os.ReadDir(p.machinesDir())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		id, ok := leftover(e.Name())
		if !ok {
			continue
		}
		dir := filepath.Join(p.machinesDir(), e.Name())
		if id == locked {
			errs = append(errs, f(dir))
			continue
		}
		if unlock, ok := p.tryLock(p.machineLock(id)); ok {
			errs = append(errs, f(dir))
			unlock()
		}
	}
	return errors.Join(errs...)
}

// leftover is the machine whose half-made or half-deleted bundle has the name. A dot
// ends the machine's name in it, as no machine's name has one.
func leftover(name string) (id string, ok bool) {
	for _, kind := range []string{".new-", ".old-"} {
		if rest, found := strings.CutPrefix(name, kind); found {
			id, _, ok = strings.Cut(rest, ".")
			return id, ok
		}
	}
	return "", false
}
