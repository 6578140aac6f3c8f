// Package local manages machines on this host: it creates, starts, stops, replaces and repairs
// them, and supervises the running ones.
//
// The bundle of a machine is its only state. A supervisor process owns each running machine.
// The package knows neither project files nor plans: each call changes one machine.
package local

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-vm/stead/provider/boot"
	"github.com/stead-vm/stead/provider/build"
	"github.com/stead-vm/stead/provider/bundle"
	"github.com/stead-vm/stead/provider/ext4"
	"github.com/stead-vm/stead/provider/guest/embedded"
	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/lock"
	"github.com/stead-vm/stead/provider/machine"
	"github.com/stead-vm/stead/provider/usage"
)

// Options configure [New].
type Options struct {
	Home      string            // required: the state directory, $STEAD_HOME
	Exe       string            // required: the stead program, re-executed as supervisor and file server
	Version   string            // of stead; recorded in what it writes
	Accel     string            // "auto" (default), "kvm" or "tcg"
	Builder   string            // program that builds images; default: the first one found
	Log       *slog.Logger      // default: discard
	Transport http.RoundTripper // to registries; default: http.DefaultTransport

	Command     string        // shown to commands that wait for it, such as "stead apply"; default: "stead"
	LockTimeout time.Duration // how long to wait for another command, see [lock.Locker]; 0: without limit
}

// Provider manages the machines of one state directory. It is safe for concurrent use, also by
// several processes.
type Provider struct {
	Bundles  *bundle.Store // bundles on disk: names, default, locks, notes
	Machines *Inventory    // current state of the machines
	Images   *image.Store  // images and cached disks
	Loader   *boot.Loader  // prepares boots, and knows what this host can run

	opts Options
	log  *slog.Logger
}

// New validates o, fills defaults and creates the state directory. It starts nothing.
func New(o Options) (*Provider, error) {
	if o.Home == "" || o.Exe == "" {
		return nil, errors.New("local: Options.Home and Options.Exe are required")
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	p := &Provider{opts: o, log: o.Log}
	var err error
	if p.Bundles, err = bundle.NewStore(o.Home, &lock.Locker{Command: o.Command, Timeout: o.LockTimeout, Log: o.Log}); err != nil {
		return nil, err
	}
	p.Machines = &Inventory{bundles: p.Bundles}
	if p.Images, err = openImages(p.Bundles.Home(), o); err != nil {
		return nil, err
	}
	p.Loader = &boot.Loader{Agent: func(arch string) (boot.Agent, error) { return embedded.Find(arch) }}
	if p.Loader.Kernels, err = p.openKernels(); err != nil {
		return nil, err
	}
	if p.Loader.Driver, err = p.openDriver(); err != nil {
		return nil, err
	}
	return p, nil
}

// openImages opens the store of images and cached disks.
func openImages(home string, o Options) (*image.Store, error) {
	return image.New(image.Options{
		Dir: filepath.Join(home, "images"), MakeDisk: makeDisk, DiskFormat: ext4.FormatVersion,
		Log: o.Log, Transport: o.Transport,
	})
}

// makeDisk writes merged layers as an ext4 file system.
func makeDisk(ctx context.Context, f *os.File, layers []image.Layer, size int64, digest string) error {
	merged := make([]ext4.Layer, len(layers))
	for i, l := range layers {
		merged[i] = ext4.Layer(l)
	}
	_, err := ext4.Write(ctx, f, merged, ext4.Options{Size: size, Digest: digest})
	return err
}

// kernelsDir returns the directory of downloaded default kernels, and cacheDir the hypervisor's
// cache.
func (p *Provider) kernelsDir() string { return filepath.Join(p.Bundles.Home(), "kernels") }
func (p *Provider) cacheDir() string   { return filepath.Join(p.Bundles.Home(), "cache") }

// Usage returns the meter of the state directory.
func (p *Provider) Usage() *usage.Meter {
	return &usage.Meter{
		Bundles: p.Bundles, Images: p.Images,
		Kernels: []string{p.kernelsDir(), filepath.Join(p.cacheDir(), "kernels")},
	}
}

// Check returns an error if a machine of s cannot be created or booted on this host, as far as
// that can be known in advance. It changes nothing.
func (p *Provider) Check(ctx context.Context, s machine.Spec) error {
	if !machine.ValidID(s.ID) {
		return &machine.InvalidIDError{ID: s.ID}
	}
	if err := errors.Join(s.Settings.Check(), s.User.Check()); err != nil {
		return err
	}
	if s.Build != nil && s.Digest == "" {
		if _, err := build.Find(ctx, p.opts.Builder); err != nil {
			return err
		}
	}
	return p.Loader.Check(ctx, s)
}
