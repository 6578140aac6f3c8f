package apple

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/host"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/platform"
)

// Importer imports Apple bundles into a store.
type Importer struct {
	Bundles  *bundle.Store
	Version  string                                               // of stead; recorded in what it writes
	Platform func(ctx context.Context, p platform.Platform) error // reports whether this host can run p
}

// Import says which Apple bundle to import.
type Import struct {
	Dir   string // required: the directory of Apple's bundles
	ID    string // required: its name there
	Name  string // its name here; default: the same
	Force bool   // import even if the disk may be in use; the copy is then at best as after a power cut
}

func (o *Import) name() string {
	if o.Name != "" {
		return o.Name
	}
	return o.ID
}

// Check returns an error if the bundle cannot be imported. It changes nothing.
func (i *Importer) Check(ctx context.Context, o Import) error {
	_, err := i.read(ctx, o)
	return err
}

// Import creates a machine from an Apple bundle, with its settings, image, user and creation
// date. Its disk is a copy, which shares blocks with the original if the file system can. The
// machine belongs to no project and is stopped. The original is not changed. On failure,
// nothing is left.
func (i *Importer) Import(ctx context.Context, o Import) error {
	unlock, err := i.Bundles.Locks().Machine(ctx, o.name(), "importing")
	if err != nil {
		return err
	}
	defer unlock()
	src, err := i.read(ctx, o)
	if err != nil {
		return err
	}
	return i.Bundles.Create(o.name(), func(b bundle.Bundle) error { return i.copy(ctx, src, b, o) })
}

// read reads and checks the bundle.
func (i *Importer) read(ctx context.Context, o Import) (*source, error) {
	if !machine.ValidID(o.name()) {
		return nil, &machine.InvalidIDError{ID: o.name()}
	}
	if i.Bundles.Bundle(o.name()).Exists() {
		return nil, &machine.ExistsError{ID: o.name()}
	}
	failed := func(err error, advice string) error {
		return &ImportError{ID: o.ID, Dir: o.Dir, Err: err, Advice: advice}
	}
	if filepath.Base(o.ID) != o.ID {
		return nil, &machine.InvalidIDError{ID: o.ID}
	}
	src, err := readSource(filepath.Join(o.Dir, o.ID))
	if !src.Exists() {
		return nil, failed(errors.New("not found"), `run "container machine ls" to list Apple's machines, or set their directory with --from`)
	}
	if err != nil {
		return nil, failed(err, "")
	}
	if err := i.Platform(ctx, platform.Platform(src.record.Configuration.Platform)); err != nil {
		return nil, failed(err, "")
	}
	if err := src.busy(); err != nil && !o.Force {
		return nil, failed(err, fmt.Sprintf(`run "container machine stop %s"; if it is stopped, use --force to import its disk as after a power cut`, o.ID))
	}
	return src, nil
}

// copy writes the files of b from those of src.
func (i *Importer) copy(ctx context.Context, src *source, b bundle.Bundle, o Import) error {
	if err := context.Cause(ctx); err != nil {
		return err // sharing blocks ends at once and ignores ctx
	}
	if err := bundle.CloneFile(ctx, b.Path(bundle.DiskFile), src.Path(bundle.DiskFile)); err != nil {
		return err
	}
	if now, err := os.Stat(src.Path(bundle.DiskFile)); err != nil {
		return err
	} else if !o.Force && (!now.ModTime().Equal(src.disk.ModTime()) || now.Size() != src.disk.Size()) {
		return &ImportError{
			ID: o.ID, Dir: o.Dir, Err: errors.New("its disk changed while it was copied"),
			Advice: "stop the machine and import it again",
		}
	}
	r, s := src.record, src.settings
	if r.Configuration.UserSetup.Username == "" {
		u := host.User()
		if err := u.Check(); err != nil {
			return err
		}
		r.Configuration.UserSetup = bundle.User{Username: u.Name, UID: u.UID, GID: u.GID}
	}
	s.Disk = src.disk.Size()
	// Write the original files first: writing keeps keys that stead does not know.
	if err := bundle.WriteJSON(b.Path(bundle.ConfigFile), src.what); err != nil {
		return err
	}
	if err := b.WriteRecord(r.Renamed(o.name(), i.Version)); err != nil {
		return err
	}
	if src.boot != nil {
		if err := bundle.WriteJSON(b.Path(bundle.BootConfigFile), src.boot); err != nil {
			return err
		}
	}
	return b.WriteSettings(s)
}
