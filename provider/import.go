package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/durable"
	"github.com/stead-vm/stead/provider/image"
)

// AppleImport says which bundle of Apple's becomes a machine of ours.
type AppleImport struct {
	Dir   string // required: the folder of its bundles
	ID    string // required: its name there
	Name  string // its name here; default: the same
	Force bool   // also while its disk may be in use: it is then as after a power cut, at best
}

func (o *AppleImport) name() string {
	if o.Name != "" {
		return o.Name
	}
	return o.ID
}

// CheckImport tells, without changing anything, whether a bundle can be imported.
func (p *Provider) CheckImport(ctx context.Context, o AppleImport) error {
	_, err := p.readImport(ctx, o)
	return err
}

// Import makes a machine of a bundle of Apple's: with its own disk, which shares blocks
// with the original where the file system can, its settings, image, user and age. It
// belongs to no project and does not run. The original is only read. The machine exists
// whole or not at all.
func (p *Provider) Import(ctx context.Context, o AppleImport) error {
	unlock, err := p.write(ctx, o.name(), "importing")
	if err != nil {
		return err
	}
	defer unlock()
	a, err := p.readImport(ctx, o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(p.machinesDir(), ".new-"+o.name()+".*")
	if err != nil {
		return diskFull(err, p.opts.Home)
	}
	if err := p.takeOver(ctx, a, bundle{dir}, o); err != nil {
		return errors.Join(diskFull(err, p.opts.Home), os.RemoveAll(dir))
	}
	if err := os.Rename(dir, p.bundle(o.name()).dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := durable.SyncDir(p.machinesDir()); err != nil {
		return err
	}
	return p.defaultIfFirst(o.name())
}

// readImport reads and checks all that an import depends on.
func (p *Provider) readImport(ctx context.Context, o AppleImport) (*appleBundle, error) {
	if !ValidID(o.name()) {
		return nil, &InvalidIDError{ID: o.name()}
	}
	if p.bundle(o.name()).exists() {
		return nil, &ExistsError{ID: o.name()}
	}
	failed := func(err error, advice string) error {
		return &ImportError{ID: o.ID, Dir: o.Dir, Err: err, Advice: advice}
	}
	if filepath.Base(o.ID) != o.ID {
		return nil, &InvalidIDError{ID: o.ID}
	}
	a, err := readApple(filepath.Join(o.Dir, o.ID))
	if !a.exists() {
		return nil, failed(errors.New("it is not there"), "`container machine ls` lists its machines; --from names another folder of them")
	}
	if err != nil {
		return nil, failed(err, "")
	}
	if err := p.checkPlatform(ctx, image.Platform(a.record.Configuration.Platform)); err != nil {
		return nil, failed(err, "")
	}
	if err := a.busy(); err != nil && !o.Force {
		return nil, failed(err, fmt.Sprintf("stop it with `container machine stop %s`; if it is stopped, --force imports it as after a power cut", o.ID))
	}
	return a, nil
}

// takeOver writes the files of b from those of a.
func (p *Provider) takeOver(ctx context.Context, a *appleBundle, b bundle, o AppleImport) error {
	if err := context.Cause(ctx); err != nil {
		return err // sharing blocks takes no time in which it could be told
	}
	if err := cloneFile(ctx, b.path(diskFile), a.path(diskFile)); err != nil {
		return err
	}
	if now, err := os.Stat(a.path(diskFile)); err != nil {
		return err
	} else if !o.Force && (!now.ModTime().Equal(a.disk.ModTime()) || now.Size() != a.disk.Size()) {
		return &ImportError{
			ID: o.ID, Dir: o.Dir, Err: errors.New("its disk was written to while it was copied"),
			Advice: "stop the machine, and import it again",
		}
	}
	r, s := a.record, a.settings
	r.Configuration.ID = o.name()
	r.Stead = recordStead{Version: recordVersion, WrittenBy: p.opts.Version}
	if r.Configuration.UserSetup.Username == "" {
		u, err := HostUser()
		if err != nil {
			return err
		}
		r.Configuration.UserSetup = recordUser{Username: u.Name, UID: u.UID, GID: u.GID}
	}
	s.Disk = a.disk.Size()
	// The originals first: what is not known here survives beneath.
	if err := writeJSON(b.path(configFile), a.what); err != nil {
		return err
	}
	if err := b.writeRecord(r); err != nil {
		return err
	}
	if a.boot != nil {
		if err := writeJSON(b.path(bootConfigFile), a.boot); err != nil {
			return err
		}
	}
	return b.writeSettings(s)
}
