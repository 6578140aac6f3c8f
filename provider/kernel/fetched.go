package kernel

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/stead-vm/stead/provider/space"
	"github.com/stead-vm/stead/provider/transfer"
)

// FetchedDefaults are the default kernels of systems without a Linux kernel of their own:
// the one that Apple's container has installed, else one from an archive.
type FetchedDefaults struct {
	Installed string // required: directory of Apple's container
	Archive   Archive
	Dir       string     // required: where fetched kernels are kept
	Downloads Downloader // required
	Log       *slog.Logger
}

// Downloader hands a file to use, downloaded, resumed and verified.
type Downloader interface {
	WithFile(ctx context.Context, f transfer.File, use func(io.Reader) error, progress transfer.Progress) error
}

// Find implements [Defaults].
func (f FetchedDefaults) Find(arch string) (Kernel, error) {
	k, err := f.current(arch)
	var later *NotFetchedError
	if errors.As(err, &later) {
		if older, missing := FetchedBefore(f.Dir); missing == nil {
			return older, nil
		}
	}
	return k, err
}

// current returns the kernel that machines should have.
func (f FetchedDefaults) current(arch string) (Kernel, error) {
	if arch != f.Archive.Arch {
		return Kernel{}, &NoDefaultError{Arch: arch}
	}
	if k, err := Installed(f.Installed); err == nil {
		return k, nil
	}
	return f.Archive.In(f.Dir)
}

// Fetch implements [Defaults].
func (f FetchedDefaults) Fetch(ctx context.Context, arch string, progress transfer.Progress) error {
	_, err := f.current(arch)
	var later *NotFetchedError
	if !errors.As(err, &later) {
		return err
	}
	file := transfer.File{Name: "kernel", URL: f.Archive.URL, Digest: "sha256:" + f.Archive.SHA256}
	err = f.Archive.Fetch(ctx, f.Dir, f.Log, func(use func(io.Reader) error) error {
		return f.explain(f.Downloads.WithFile(ctx, file, use, progress))
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if older, missing := FetchedBefore(f.Dir); missing == nil {
		f.Log.Warn("cannot fetch the default kernel; using an older one", "kernel", older.Release, "err", err)
		return nil
	}
	return err
}

// KVM is false: Kata's kernels, Apple's default among them, are built for guests only. A
// machine can name another one that Apple's container was configured to boot.
func (FetchedDefaults) KVM() bool { return false }

// explain says what a failed download was for.
func (f FetchedDefaults) explain(err error) error {
	var full *space.FullError
	if errors.As(err, &full) {
		return err
	}
	var download *transfer.DownloadError
	var damaged *transfer.BlobError
	if errors.As(err, &download) || errors.As(err, &damaged) {
		return &FetchError{Archive: f.Archive, Err: err}
	}
	return space.Explain(err, f.Dir)
}
