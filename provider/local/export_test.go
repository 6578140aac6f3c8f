package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/stead-vm/stead/provider/lock"

	"github.com/stead-vm/stead/provider/boot"

	"github.com/stead-vm/stead/provider/bundle"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// FetcherEnv makes the test binary fetch a default kernel. It holds the state directory, the
// archive's URL and digest, and the kernel's path in it.
const FetcherEnv = "STEAD_TEST_FETCHER"

// FetchKernel fetches the kernel that FetcherEnv describes.
func FetchKernel(words string) error {
	w := strings.Fields(words)
	o := Options{Home: w[0], Log: slog.New(slog.DiscardHandler)}
	images, err := openImages(o.Home, o)
	if err != nil {
		return err
	}
	a := kernel.Archive{URL: w[1], SHA256: w[2], Member: w[3], Arch: "arm64"}
	d := kernel.FetchedDefaults{Archive: a, Dir: filepath.Join(o.Home, "kernels"), Downloads: images, Log: o.Log}
	return d.Fetch(context.Background(), a.Arch, nil)
}

// NewWith is New with another hypervisor, and a fake agent.
func NewWith(o Options, d hypervisor.Driver) (*Provider, error) {
	p, err := New(o)
	if err == nil {
		p.Loader.Driver, p.Loader.Agent = d, func(string) (boot.Agent, error) { return idleAgent{}, nil }
	}
	return p, err
}

type idleAgent struct{}

func (idleAgent) Program() ([]byte, error) { return []byte("agent"), nil }

// DiskOf is the path of a machine's disk, RecordOf and SettingsOf those of its files.
func (p *Provider) DiskOf(id string) string { return p.Bundles.Bundle(id).Path(bundle.DiskFile) }

func (p *Provider) RecordOf(id string) string { return p.Bundles.Bundle(id).Path(bundle.ConfigFile) }

func (p *Provider) SettingsOf(id string) string {
	return p.Bundles.Bundle(id).Path(bundle.BootConfigFile)
}

// Leftovers returns an error for each half-made or half-removed bundle, and for each lock that is
// held.
func (p *Provider) Leftovers() error {
	dir := filepath.Join(p.Bundles.Home(), "machines")
	entries, err := os.ReadDir(dir)
	errs := []error{err, p.Bundles.EachLeftover(func(dir string) error { return fmt.Errorf("%s is left", filepath.Base(dir)) })}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".lock") {
			unlock, ok := lock.File{Path: filepath.Join(dir, name)}.Try()
			if !ok {
				errs = append(errs, fmt.Errorf("%s is held", name))
				continue
			}
			unlock()
		}
	}
	return errors.Join(errs...)
}

// TinyRoot returns a tarball of a root file system with one file.
var TinyRoot = tinyRoot
