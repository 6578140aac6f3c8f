package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/stead-vm/stead/provider/hypervisor"
	"github.com/stead-vm/stead/provider/kernel"
)

// HolderEnv makes the test binary a process that takes the lock of machine "dev" in the
// state folder of that name, says so, and waits to be killed.
const HolderEnv = "STEAD_TEST_HOLDER"

// Hold is what such a process does.
func Hold(home string) error {
	p := &Provider{opts: Options{Home: home, Command: "stead apply"}, log: slog.New(slog.DiscardHandler)}
	if _, err := p.write(context.Background(), "dev", "creating"); err != nil {
		return err
	}
	fmt.Println("locked")
	time.Sleep(time.Hour)
	return nil
}

// FetcherEnv makes the test binary a process that fetches a default kernel. It holds the
// state folder, the archive's address and digest, and the kernel's path in it.
const FetcherEnv = "STEAD_TEST_FETCHER"

// FetchKernel is what such a process does.
func FetchKernel(words string) error {
	w := strings.Fields(words)
	o := Options{Home: w[0], Log: slog.New(slog.DiscardHandler)}
	images, err := openImages(o)
	if err != nil {
		return err
	}
	p := &Provider{opts: o}
	a := kernel.Archive{URL: w[1], SHA256: w[2], Member: w[3], Arch: "arm64"}
	return fetchedKernels{archive: a, dir: p.kernelsDir(), images: images, log: o.Log}.fetch(context.Background(), a.Arch, nil)
}

// NewWith is New with another hypervisor, and a program for its guests that none runs.
func NewWith(o Options, d hypervisor.Driver) (*Provider, error) {
	p, err := New(o)
	if err == nil {
		p.driver, p.agent = d, func(string) (agent, error) { return idleAgent{}, nil }
	}
	return p, err
}

type idleAgent struct{}

func (idleAgent) Program() ([]byte, error) { return []byte("agent"), nil }

// DiskOf is the path of a machine's disk, RecordOf and SettingsOf those of its files.
func (p *Provider) DiskOf(id string) string     { return p.bundle(id).path(diskFile) }
func (p *Provider) RecordOf(id string) string   { return p.bundle(id).path(configFile) }
func (p *Provider) SettingsOf(id string) string { return p.bundle(id).path(bootConfigFile) }

// Leftovers tells what no command may leave behind for good: half-made and half-removed
// bundles, and locks that somebody holds.
func (p *Provider) Leftovers() error {
	entries, err := os.ReadDir(p.machinesDir())
	errs := []error{err}
	for _, e := range entries {
		name := e.Name()
		if _, ok := leftover(name); ok {
			errs = append(errs, fmt.Errorf("%s is left", name))
		}
		id, ok := strings.CutSuffix(name, ".lock")
		if !ok {
			continue
		}
		unlock, ok := p.tryLock(p.machineLock(strings.TrimPrefix(id, ".")))
		if !ok {
			errs = append(errs, fmt.Errorf("%s is held", name))
			continue
		}
		unlock()
	}
	return errors.Join(errs...)
}

// TinyRoot is a tarball of a root file system with one file.
var TinyRoot = tinyRoot
