package provider

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/stead-vm/stead/provider/image"
	"github.com/stead-vm/stead/provider/kernel"
)

// kernelSource has the kernels of machines that name none.
type kernelSource interface {
	// find is the kernel for machines of an architecture that is on this host. One that is
	// not but could be fetched is a [*kernel.NotFetchedError].
	find(arch string) (kernel.Kernel, error)
	// fetch makes sure that find has one, and the newest if it can be had. It may take
	// minutes, so it is for commands that somebody watches.
	fetch(ctx context.Context, arch string, progress image.Progress) error
	// kvm is false where kernels have KVM neither built in nor as a module, as is known
	// before there is one. Where it is true, a kernel's modules tell.
	kvm() bool
}

// fetchKernel makes sure that there is a kernel for s.
func (p *Provider) fetchKernel(ctx context.Context, s Spec, progress image.Progress) error {
	if s.Kernel != "" {
		return nil
	}
	cpu, _, err := p.processorOf(ctx, s)
	if err != nil {
		return err
	}
	return p.kernels.fetch(ctx, cpu.arch, progress)
}

// kernelsDir has the default kernels that were fetched.
func (p *Provider) kernelsDir() string { return filepath.Join(p.opts.Home, "kernels") }

// fetchedKernels is for systems that have no Linux kernel of their own: what another
// program has installed, else an archive's.
type fetchedKernels struct {
	installed string // folder of Apple's container
	archive   kernel.Archive
	dir       string
	images    *image.Store // downloads
	log       *slog.Logger
}

func (f fetchedKernels) find(arch string) (kernel.Kernel, error) {
	k, err := f.current(arch)
	var later *kernel.NotFetchedError
	if errors.As(err, &later) {
		if older, missing := kernel.FetchedBefore(f.dir); missing == nil {
			return older, nil
		}
	}
	return k, err
}

// current is the kernel that machines should have.
func (f fetchedKernels) current(arch string) (kernel.Kernel, error) {
	if arch != f.archive.Arch {
		return kernel.Kernel{}, &kernel.NoDefaultError{Arch: arch}
	}
	if k, err := kernel.Installed(f.installed); err == nil {
		return k, nil
	}
	return f.archive.In(f.dir)
}

func (f fetchedKernels) fetch(ctx context.Context, arch string, progress image.Progress) error {
	_, err := f.current(arch)
	var later *kernel.NotFetchedError
	if !errors.As(err, &later) {
		return err
	}
	file := image.File{Name: "kernel", URL: f.archive.URL, Digest: "sha256:" + f.archive.SHA256}
	err = f.archive.Fetch(ctx, f.dir, func(use func(io.Reader) error) error {
		return f.explain(f.images.WithFile(ctx, file, use, progress))
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if older, missing := kernel.FetchedBefore(f.dir); missing == nil {
		f.log.Warn("machines boot an older default kernel", "kernel", older.Release, "because", err)
		return nil
	}
	return err
}

// kvm is false: Kata's kernels, Apple's default among them, are built to be guests alone.
// Another one that Apple's container was told to boot can be named.
func (fetchedKernels) kvm() bool { return false }

// explain says what a failed download was for, where that helps.
func (f fetchedKernels) explain(err error) error {
	var full *image.SpaceError
	if errors.As(err, &full) {
		return err
	}
	var download *image.DownloadError
	var damaged *image.BlobError
	if errors.As(err, &download) || errors.As(err, &damaged) {
		return &kernel.FetchError{Archive: f.archive, Err: err}
	}
	return diskFull(err, f.dir)
}
